//! Files out of the system's page cache.

use std::io;
use std::path::PathBuf;

/// Drops what the system holds of these files, as far as nobody else maps them.
#[cfg(target_os = "linux")]
pub(super) fn drop_files(files: &[PathBuf]) -> io::Result<()> {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    for path in files {
        let file = std::fs::File::open(path)?;
        // A page that is not written yet cannot be dropped.
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_files(_: &[PathBuf]) -> io::Result<()> {
    let reason = "this system has no call that drops a file from its page cache";
    Err(io::Error::new(io::ErrorKind::Unsupported, reason))
}
