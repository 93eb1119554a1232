//! Opening files of a model directory, and writing those of a cache.

use std::fs::{self, File};
use std::io;
#[cfg(any(feature = "mlx", feature = "onnx"))]
use std::io::BufWriter;
use std::path::Path;
#[cfg(any(feature = "mlx", feature = "onnx"))]
use std::sync::atomic::{AtomicU32, Ordering};

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

/// Writes a file beside its place and moves it there: readers see all of it or nothing.
#[cfg(any(feature = "mlx", feature = "onnx"))]
pub(crate) fn write_atomically(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{}-{write}.tmp", std::process::id()));
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let written = File::create(&fresh).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        content(&mut out)?;
        out.into_inner()?.sync_all()?;
        fs::rename(&fresh, path)
    });
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&fresh);
    }
    written
}
