//! What tells two states of a file apart without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The marks of some files, in their order; `None` for one that is not there.
pub(super) type Marks = Vec<Option<Mark>>;

/// Device, number, size and times. The second time cannot be set: who puts an old one back in
/// place of a new file is seen, too.
pub(super) type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

/// Looks at these files, behind whatever links lead to them. Blocks for a moment.
pub(super) fn of(files: &[PathBuf]) -> Marks {
    let mark = |file: &PathBuf| {
        let seen = std::fs::metadata(file).ok()?;
        let times = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
        Some((seen.dev(), seen.ino(), seen.size(), times.0, times.1))
    };
    files.iter().map(mark).collect()
}
