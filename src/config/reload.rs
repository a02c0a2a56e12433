//! A configuration file that changes while it is in force.
//!
//! The folder is watched, not the file: editors and Kubernetes put a new file
//! in the old one's place. A file that is not good is reported and left alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;

use super::Config;
use super::file::{self, ConfigErrors, Loaded};

/// How long a file must have been quiet: a save is several events.
const QUIET: Duration = Duration::from_millis(50);

/// What a look at a changed file came to.
#[derive(Debug)]
pub enum Change {
    /// A good configuration.
    Good(Box<Config>),
    /// A bad one, and all that is wrong with it.
    Bad(String),
}

/// Why a file cannot be watched.
#[derive(Debug, Error)]
#[error("cannot watch {}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Reads the file and logs what is wrong with it. Blocks for a moment.
pub fn read(path: &Path) -> Change {
    judge(file::load(path, file::environment()))
}

fn judge(loaded: Result<Loaded, ConfigErrors>) -> Change {
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            Change::Good(Box::new(loaded.config))
        }
        Err(errors) => {
            tracing::error!("the configuration was not reloaded; the running one stays:\n{errors}");
            Change::Bad(errors.to_string())
        }
    }
}

/// Watches until the result is dropped; each change of the file's content is sent.
///
/// `known` is the content that is in force: what changed before the watch began counts, too.
pub fn watch<T: From<Change> + Send + 'static>(
    path: PathBuf,
    known: Option<Vec<u8>>,
    changes: mpsc::Sender<T>,
) -> Result<RecommendedWatcher, WatchError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let (events, receiver) = mpsc::channel(1);
    let fail = |source| WatchError { path: folder.clone(), source };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let read_only = event.is_ok_and(|event| event.kind.is_access());
        if !read_only {
            // One event waiting is as good as many.
            let _ = events.try_send(());
        }
    })
    .map_err(fail)?;
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(fail)?;
    tokio::spawn(follow(path, known, receiver, changes));
    Ok(watcher)
}

async fn follow<T: From<Change>>(
    path: PathBuf,
    mut content: Option<Vec<u8>>,
    mut events: mpsc::Receiver<()>,
    changes: mpsc::Sender<T>,
) {
    loop {
        let new = settled(&path, content.as_deref()).await;
        if new != content {
            content.clone_from(&new);
            let path = path.clone();
            let judge = move || match new {
                Some(bytes) => judge(file::load_bytes(&path, bytes, file::environment())),
                None => read(&path),
            };
            let Ok(change) = tokio::task::spawn_blocking(judge).await else { continue };
            if changes.send(T::from(change)).await.is_err() {
                return;
            }
        }
        if events.recv().await.is_none() {
            return;
        }
        tokio::time::sleep(QUIET).await;
    }
}

/// The file's content once it stands still, or as `known`. A save in place shows nothing or half of
/// the file for a moment, and half a configuration can be a good one.
async fn settled(path: &Path, known: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut seen = tokio::fs::read(path).await.ok();
    while seen.as_deref() != known {
        tokio::time::sleep(QUIET).await;
        let again = tokio::fs::read(path).await.ok();
        if again == seen {
            break;
        }
        seen = again;
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_save_shows_half_way_is_not_taken_for_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, "").expect("written");
        let save = async {
            for part in ["a", "ab", "abc"] {
                tokio::time::sleep(QUIET * 2 / 3).await;
                std::fs::write(&path, part).expect("written");
            }
        };
        let (settled, ()) = tokio::join!(settled(&path, Some(b"old")), save);
        assert_eq!(settled.as_deref(), Some(&b"abc"[..]));
    }
}
