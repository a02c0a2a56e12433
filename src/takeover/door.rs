//! The Unix socket at which a new process asks for the sockets: its place in
//! the file system, and who may come in.
//!
//! It is bound beside its place and moved there when this process serves, in one
//! step: whoever asks meets the process that serves. Nothing that is not a dead
//! socket of the same user is ever replaced.

use std::env;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Why the socket cannot be at its place.
#[derive(Debug, Error)]
pub enum DoorError {
    /// A gateway runs there.
    #[error(
        "a gateway with the take-over socket {} runs already: `--takeover` takes over from it, \
         another --takeover-socket lets both run", path.display()
    )]
    Alive {
        /// The take-over socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is in the way of the take-over socket: it is {what}", path.display())]
    InTheWay {
        /// The take-over socket.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The system refuses.
    #[error("cannot make the take-over socket {}", path.display())]
    Io {
        /// The take-over socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Where the socket is unless somebody says otherwise: in the folder of the unit, or of the user.
///
/// `None` without either: a folder that anybody may write to is no place for it.
pub fn default_path() -> Option<PathBuf> {
    let unit = env::var_os("RUNTIME_DIRECTORY").filter(|folders| !folders.is_empty());
    if let Some(folders) = unit {
        // systemd lists several with colons.
        return Some(env::split_paths(&folders).next()?.join("takeover.sock"));
    }
    let user = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    user.map(|folder| Path::new(&folder).join("ignite-gateway-takeover.sock"))
}

/// What is at the place of the socket.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A socket of ours that nobody listens at.
    Dead,
    Alive,
    InTheWay(&'static str),
}

async fn look(path: &Path) -> io::Result<Found> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    if !there.file_type().is_socket() {
        return Ok(Found::InTheWay("not a socket"));
    }
    if there.uid() != rustix::process::geteuid().as_raw() {
        return Ok(Found::InTheWay("another user's socket"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Ok(Found::Alive),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Dead),
        // Not a stream socket, ours or not.
        Err(_) => Ok(Found::InTheWay("a socket of another kind")),
    }
}

/// Whom to take over from, if anybody listens at the place.
pub(super) async fn knock(path: &Path) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// The socket of this process.
#[derive(Debug)]
pub struct Door {
    pub(super) listener: UnixListener,
    /// Where it is now.
    now: PathBuf,
    place: PathBuf,
    /// Its device and inode, to know it again.
    identity: (u64, u64),
    /// Somebody else's socket takes its place.
    left: bool,
}

impl Door {
    /// Binds a socket beside its place. A gateway that runs at the place is in the way, unless this
    /// process `succeeds` it.
    pub async fn beside(place: PathBuf, succeeds: bool) -> Result<Self, DoorError> {
        let fail = |source| DoorError::Io { path: place.clone(), source };
        match look(&place).await.map_err(fail)? {
            Found::Nothing | Found::Dead => {}
            Found::Alive if succeeds => {}
            Found::Alive => return Err(DoorError::Alive { path: place }),
            Found::InTheWay(what) => return Err(DoorError::InTheWay { path: place, what }),
        }
        let mut now = place.clone().into_os_string();
        now.push(format!(".{}", std::process::id()));
        let now = PathBuf::from(now);
        // Of a process of this number that was killed just here.
        if look(&now).await.map_err(fail)? == Found::Dead {
            fs::remove_file(&now).map_err(fail)?;
        }
        let listener = UnixListener::bind(&now).map_err(fail)?;
        let restrict = fs::set_permissions(&now, Permissions::from_mode(0o600));
        let identity = restrict.and_then(|()| identity(&now)).map_err(fail)?;
        Ok(Self { listener, now, place, identity, left: false })
    }

    /// Leaves the place to the process that takes over, which may be moving its own socket there
    /// just now.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    /// Moves it to its place.
    pub fn open(&mut self) -> Result<(), DoorError> {
        fs::rename(&self.now, &self.place)
            .map_err(|source| DoorError::Io { path: self.place.clone(), source })?;
        self.now.clone_from(&self.place);
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // A successor's may be in its place.
        if !self.left && identity(&self.now).is_ok_and(|there| there == self.identity) {
            let _ = fs::remove_file(&self.now);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("takeover.sock");
        fs::write(&place, "precious").unwrap();
        let error = Door::beside(place.clone(), false).await.unwrap_err();
        assert!(matches!(error, DoorError::InTheWay { .. }), "{error}");
        assert_eq!(fs::read_to_string(&place).unwrap(), "precious");
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &place).unwrap();
        assert!(Door::beside(place.clone(), true).await.is_err(), "a link leads anywhere");
        fs::remove_file(&place).unwrap();
        drop(UnixListener::bind(&place).unwrap());
        let mut door = Door::beside(place.clone(), false).await.unwrap();
        door.open().unwrap();
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o600);
        let error = Door::beside(place.clone(), false).await.unwrap_err();
        assert!(matches!(error, DoorError::Alive { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_door_goes_with_its_process_and_a_successors_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("takeover.sock");
        let mut old = Door::beside(place.clone(), false).await.unwrap();
        old.open().unwrap();
        let mut new = Door::beside(place.clone(), true).await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        new.open().unwrap();
        drop(old);
        assert_eq!(look(&place).await.unwrap(), Found::Alive);
        drop(new);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
