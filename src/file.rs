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
