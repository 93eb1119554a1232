//! Quantised weights on disk: one file for each checkpoint and kind of processor, written whole or
//! not at all.
//!
//! ```text
//! "qwen3-embedding int8\n"   what it is
//! u64, u64                   length and checksum of the header
//! header                     JSON: key, summary, arrays by name with element, shape, checksums
//! arrays                     little-endian, in the header's order, each at a multiple of 64 bytes
//! ```
//!
//! The file's length, the header's checksum and key, and the checksums of every array are compared
//! before the weights are used. They guard against damage, not against somebody who can write here.
//! What sessions repack is read from the mapped file, and so not held twice.

mod element;
mod reader;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::key;
use super::store::Store;
use crate::backend::onnx::array::{ALIGNMENT, StoredArray};
use crate::cache_dir;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::file::write_atomically;
use element::Element;

const MAGIC: &[u8] = b"qwen3-embedding int8\n";

/// Bytes of an array that have a checksum of their own: so many are read by one thread.
const PIECE: usize = 16 << 20;

/// Where the weights of one checkpoint are kept.
pub(super) struct Cache {
    key: String,
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
    summary: String,
    /// By the checkpoint's key: the weight's one array or its values and scales.
    weights: BTreeMap<String, Vec<Entry>>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    element: Element,
    shape: Vec<usize>,
    /// Of each [`PIECE`].
    checksums: Vec<u32>,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.element.bytes(&self.shape)
    }
}

impl Cache {
    /// `None` where the user has no cache directory.
    pub(super) fn new(
        dir: Option<PathBuf>,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
    ) -> Result<Option<Self>> {
        let Some(dir) = dir.or_else(cache_dir::quantized) else {
            return Ok(None);
        };
        let key = key::of(&dir, checkpoint, config)?;
        let path = dir.join(format!("{key}.int8"));
        Ok(Some(Self { key, path }))
    }

    /// The summary and the weights; `None` where there is no file, or none that is whole.
    pub(super) fn read(&self) -> Option<(String, Store)> {
        match self.try_read() {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, "the quantised weights are made anew: {error}");
                None
            }
        }
    }

    /// Keeps the weights, if the directory can be written to.
    pub(super) fn write(&self, summary: &str, store: &Store) {
        let written = write_atomically(&self.path, |out| write(out, &self.key, summary, store));
        if let Err(error) = written {
            let file = self.path.display();
            tracing::warn!(%file, "the quantised weights are not kept: {error}");
        }
    }

    fn try_read(&self) -> io::Result<(String, Store)> {
        let whole = reader::open(&self.path)?;
        tracing::debug!(file = %self.path.display(), "reading the quantised weights");
        if whole.header.key != self.key {
            return Err(reader::damaged("it holds another checkpoint's weights"));
        }
        let (weights, file) = whole.weights()?;
        Ok((whole.header.summary, Store::of_file(weights, file)))
    }
}

fn write(out: &mut BufWriter<File>, key: &str, summary: &str, store: &Store) -> io::Result<()> {
    let weights = store.iter().map(|(key, weight)| {
        let entries = weight.arrays().map(entry).collect::<io::Result<_>>()?;
        Ok((key.clone(), entries))
    });
    let header = serde_json::to_vec(&Header {
        key: key.to_owned(),
        summary: summary.to_owned(),
        weights: weights.collect::<io::Result<_>>()?,
    })?;
    out.write_all(MAGIC)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&u64::from(crc32fast::hash(&header)).to_le_bytes())?;
    out.write_all(&header)?;
    let mut end = end_of_header(header.len() as u64);
    for array in store.iter().flat_map(|(_, weight)| weight.arrays()) {
        let begin = aligned(end);
        out.write_all(&[0; ALIGNMENT][..(begin - end) as usize])?;
        out.write_all(array.bytes())?;
        end = begin + array.bytes().len() as u64;
    }
    Ok(())
}

fn entry(array: &StoredArray) -> io::Result<Entry> {
    Ok(Entry {
        element: array.element().try_into()?,
        shape: array.shape().iter().map(|&axis| axis as usize).collect(),
        checksums: array.bytes().chunks(PIECE).map(crc32fast::hash).collect(),
    })
}

/// Where a header of this length ends.
fn end_of_header(header: u64) -> u64 {
    MAGIC.len() as u64 + 16 + header
}

/// The next place at which an array may begin. Saturates: no file is as long as that.
fn aligned(end: u64) -> u64 {
    let alignment = ALIGNMENT as u64;
    end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}
