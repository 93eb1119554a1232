//! One open safetensors file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, MmapOptions};

use super::header::{self, Entry};
use crate::error::{Error, Result};
use crate::file;

/// The format's own bound on the header.
const MAX_HEADER: u64 = 100_000_000;

/// The header's length, little-endian, comes first.
const LENGTH_BYTES: u64 = 8;

/// A shard whose header has been read; its data is mapped piece by piece.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    file: File,
    len: u64,
    data_start: u64,
}

impl Shard {
    /// Opens the file and checks its header; also gives its tensors, in the order of their bytes.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Vec<Entry>)> {
        let (mut file, len) = file::open(&path).map_err(|source| failed(&path, source))?;
        let header = read_header(&path, &mut file, len)?;
        // Fits: the header was read from within the file.
        let data_start = LENGTH_BYTES + header.len() as u64;
        let entries = header::parse(&path, &header, len - data_start)?;
        Ok((
            Self {
                path,
                file,
                len,
                data_start,
            },
            entries,
        ))
    }

    /// The file's name, as an index spells it.
    pub(super) fn name(&self) -> &str {
        self.path
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
    }

    /// Maps `len` bytes of the data from `begin` on, which a header entry says are there.
    pub(super) fn map(&self, begin: u64, len: usize) -> Result<Mmap> {
        let found = self
            .file
            .metadata()
            .map_err(|source| failed(&self.path, source))?
            .len();
        if found != self.len {
            let reason = format!(
                "the file was changed during the load: expected {} bytes, found {found}",
                self.len
            );
            return Err(failed(&self.path, io::Error::other(reason)));
        }
        let begin = self.data_start + begin;
        map(&self.file, begin, len).map_err(|source| failed(&self.path, source))
    }
}

fn read_header(path: &Path, file: &mut File, len: u64) -> Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES as usize];
    let Some(rest) = len.checked_sub(LENGTH_BYTES) else {
        return Err(header::invalid(
            path,
            format!("expected at least 8 bytes, found {len}"),
        ));
    };
    file.read_exact(&mut length)
        .map_err(|source| failed(path, source))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER {
        let reason = format!("expected a header of at most {MAX_HEADER} bytes, found {header_len}");
        return Err(header::invalid(path, reason));
    }
    if header_len > rest {
        let reason = format!("expected a header of {header_len} bytes, found {rest}");
        return Err(header::invalid(path, reason));
    }
    let mut header = Vec::new();
    let read = file
        .take(header_len)
        .read_to_end(&mut header)
        .map_err(|source| failed(path, source))?;
    if read as u64 != header_len {
        return Err(failed(path, io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(header)
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[allow(unsafe_code)]
fn map(file: &File, offset: u64, len: usize) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only and private, and of u8, which has no invalid values. `file`
    // is open here and was found long enough just before. What is left is the requirement that
    // `Checkpoint::open` documents: nobody writes to or truncates the file during the load.
    unsafe {
        MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_copy_read_only(file)
    }
}
