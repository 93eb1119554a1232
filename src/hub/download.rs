//! One file into the cache's blobs: resumed, checked, then renamed.
//!
//! Bytes are collected in `blobs/{hash}.part`. Only when that file has the
//! declared length and hash does it get its final name, and only then is it
//! linked into a snapshot. So at whatever point the process dies, what has a
//! final name is right, and no marker of unfinished checks is needed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Progress;
use super::failure::{Failure, Patience};
use super::remote::{FileInfo, Remote};
use crate::error::{Error, Result};

/// An attempt that brought this much does not count against the patience.
const WORTHWHILE: u64 = 1 << 20;

pub(super) struct Download<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) model: &'a str,
    pub(super) commit: &'a str,
    pub(super) file: &'a str,
    pub(super) info: &'a FileInfo,
    pub(super) blob: PathBuf,
}

impl Download<'_> {
    /// Afterwards the blob exists and has the declared content.
    pub(super) fn run(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        // hf-hub locks the same file, so its downloads and these exclude each other too.
        let _lock = lock(&self.blob.with_extension("lock"))?;
        if self.blob.exists() {
            // Put there by another revision or another tool, maybe unchecked.
            if self.mismatch(&self.blob)?.is_none() {
                return Ok(());
            }
            remove(&self.blob)?;
        }

        let part = self.blob.with_extension("part");
        let mut inherited = length(&part)? > 0;
        loop {
            self.complete(&part, progress)
                .map_err(|failure| failure.into_error(self.model, self.file))?;
            let Some(found) = self.mismatch(&part)? else {
                return settle(&part, &self.blob);
            };
            remove(&part)?;
            if !inherited {
                return Err(self.hash_error(found));
            }
            // An earlier call's bytes may be at fault: once more, from the start.
            inherited = false;
        }
    }

    /// Fills the part file up to the declared size, over as many requests as that takes.
    fn complete(&self, part: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let mut patience = Patience::new();
        let mut furthest = length(part).map_err(Failure::Local)?;
        loop {
            let mut have = length(part).map_err(Failure::Local)?;
            if have > self.info.size {
                remove(part).map_err(Failure::Local)?;
                have = 0;
            }
            if have >= furthest.saturating_add(WORTHWHILE) {
                furthest = have;
                patience = Patience::new();
            }
            let target = OpenOptions::new().create(true).append(true).open(part);
            let target = target.map_err(|source| local(part, source))?;
            self.report(have, progress);
            if have == self.info.size {
                return Ok(());
            }
            if let Err(failure) = self.append(part, target, have, progress) {
                patience.spend(failure)?;
            }
        }
    }

    /// One request: what it brings is appended.
    fn append(
        &self,
        part: &Path,
        mut target: File,
        have: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let Some(content) = self.remote.content(self.commit, self.file, have)? else {
            remove(part).map_err(Failure::Local)?;
            return Err(Failure::Transient(format!("the server has no byte {have}")));
        };
        target
            .set_len(content.from)
            .map_err(|source| local(part, source))?;

        let size = self.info.size;
        let mut done = content.from;
        let mut body = content.body.take(size - done);
        let mut buffer = vec![0; 256 << 10];
        while done < size {
            let read = match body.read(&mut buffer) {
                Ok(0) => Err("the connection was closed".to_owned()),
                Ok(read) => Ok(read),
                Err(error) => Err(error.to_string()),
            };
            let read = read.map_err(|reason| {
                Failure::Transient(format!("{reason} after {done} of {size} bytes"))
            })?;
            target
                .write_all(&buffer[..read])
                .map_err(|source| local(part, source))?;
            done += read as u64;
            self.report(done, progress);
        }
        Ok(())
    }

    fn report(&self, done: u64, progress: &mut dyn FnMut(Progress<'_>)) {
        progress(Progress {
            file: self.file,
            done,
            total: self.info.size,
        });
    }

    /// The hash that the file has, if it is not the declared one.
    fn mismatch(&self, path: &Path) -> Result<Option<String>> {
        let found = self
            .info
            .hash
            .of_file(path)
            .map_err(|source| io_error(path, source))?;
        Ok((found != self.info.hash.as_str()).then_some(found))
    }

    fn hash_error(&self, found: String) -> Error {
        Error::HashMismatch {
            model: self.model.to_owned(),
            file: self.file.to_owned(),
            algorithm: self.info.hash.algorithm(),
            expected: self.info.hash.as_str().to_owned(),
            found,
        }
    }
}

/// Waits for whoever is downloading the same blob. The system drops the lock of a process that dies.
fn lock(path: &Path) -> Result<File> {
    let locked = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        match file.lock() {
            // A file system without locks: downloads at the same time are checked all the same.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            locked => locked.map(|()| file),
        }
    };
    locked().map_err(|source| io_error(path, source))
}

/// Gives a checked file its final name, on disk before in the directory.
fn settle(part: &Path, blob: &Path) -> Result<()> {
    let settled = || {
        OpenOptions::new().append(true).open(part)?.sync_all()?;
        fs::rename(part, blob)
    };
    settled().map_err(|source| io_error(blob, source))
}

fn length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(io_error(path, source)),
    }
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|source| io_error(path, source))
}

fn local(path: &Path, source: io::Error) -> Failure {
    Failure::Local(io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}
