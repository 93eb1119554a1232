//! Quantised weights on disk: one file for each checkpoint and kind of processor, written whole or
//! not at all.
//!
//! ```text
//! "qwen3-embedding int8\n"   what it is
//! u64, u64                   length and checksum of the header
//! header                     JSON: key, summary, arrays by name with element, shape, checksums
//! arrays                     in the header's order, each at a multiple of 64 bytes, linear layers in
//!                            the order in which this kind of processor reads them
//! ```
//!
//! The file's length, the header's checksum and key, and the checksums of every array are compared
//! before the weights are used. They guard against damage, not against somebody who can write here.
//! The arrays are copied to memory in one piece, and read from there.

mod element;
mod reader;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::key;
use super::store::{QuantizedWeight, Store};
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
    /// By the checkpoint's key: the weight's one array, or the table's integers and scales.
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
    fn new(element: Element, shape: Vec<usize>, bytes: &[u8]) -> Self {
        Self {
            element,
            shape,
            checksums: bytes.chunks(PIECE).map(crc32fast::hash).collect(),
        }
    }

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
        let store = Store::new(whole.weights()?);
        Ok((whole.header.summary, store))
    }
}

fn write(out: &mut BufWriter<File>, key: &str, summary: &str, store: &Store) -> io::Result<()> {
    let weights = store.iter().map(|(key, weight)| {
        let entries = arrays(weight)?.into_iter().map(|(entry, _)| entry);
        Ok((key.clone(), entries.collect()))
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
    for (_, weight) in store.iter() {
        for (_, bytes) in arrays(weight)? {
            let begin = aligned(end);
            out.write_all(&[0; ALIGNMENT][..(begin - end) as usize])?;
            out.write_all(bytes)?;
            end = begin + bytes.len() as u64;
        }
    }
    Ok(())
}

/// The arrays that a weight is, in the file's order.
fn arrays(weight: &QuantizedWeight) -> io::Result<Vec<(Entry, &[u8])>> {
    match weight {
        QuantizedWeight::F32(array) => Ok(vec![stored(array)?]),
        QuantizedWeight::Table([values, scales]) => Ok(vec![stored(values)?, stored(scales)?]),
        QuantizedWeight::Linear(panels) => {
            let layout = panels.layout();
            let shape = vec![layout.outputs(), layout.inputs()];
            let entry = Entry::new(layout.element().try_into()?, shape, panels.bytes());
            Ok(vec![(entry, panels.bytes())])
        }
    }
}

fn stored(array: &StoredArray) -> io::Result<(Entry, &[u8])> {
    let shape = array.shape().iter().map(|&axis| axis as usize);
    let entry = Entry::new(array.element().try_into()?, shape.collect(), array.bytes());
    Ok((entry, array.bytes()))
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
