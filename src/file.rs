//! Opening files of a model directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a regular file, through symbolic links (a hub cache is full of them), and gives its length.
///
/// Looks before it opens: opening a named pipe would wait for a writer for ever.
pub(crate) fn open(path: &Path) -> io::Result<(File, u64)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// What changes whenever the file is replaced or written to. `None` where the system does not say.
#[cfg(all(feature = "onnx", unix))]
pub(crate) fn stamp(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let path = path.canonicalize().ok()?;
    let found = fs::metadata(&path).ok()?;
    let (device, inode) = (found.dev(), found.ino());
    let (modified, changed) = (
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    );
    let len = found.len();
    Some(format!(
        "{path:?} {device} {inode} {len} {modified:?} {changed:?}\n"
    ))
}

#[cfg(all(feature = "onnx", not(unix)))]
pub(crate) fn stamp(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let found = fs::metadata(&path).ok()?;
    Some(format!(
        "{path:?} {} {:?}\n",
        found.len(),
        found.modified().ok()?
    ))
}
