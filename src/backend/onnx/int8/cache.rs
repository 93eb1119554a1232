//! Quantised weights on disk: one file for each checkpoint, written whole or not at all.
//!
//! ```text
//! "qwen3-embedding int8\n"   what it is
//! u64, u64                   length and checksum of the header
//! header                     JSON: key, summary, arrays by name with element, shape, checksum
//! arrays                     little-endian, in the header's order
//! ```
//!
//! The file's length, the header's checksum and key, and the checksum of every array are compared
//! before the weights are used. They guard against damage, not against somebody who can write here.

mod reader;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use ort::value::Tensor as Array;
use serde::{Deserialize, Serialize};

use super::array_file::{self, Element};
use super::key;
use super::matrix::Quantized;
use super::store::{QuantizedWeight, Store};
use crate::cache_dir;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::file::write_atomically;

const MAGIC: &[u8] = b"qwen3-embedding int8\n";

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
    checksum: u64,
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
        let (header, arrays) = reader::header(&self.path)?;
        tracing::debug!(file = %self.path.display(), "reading the quantised weights");
        if header.key != self.key {
            return Err(reader::damaged("it holds another checkpoint's weights"));
        }
        let weights = reader::weights(&self.path, &header, arrays)?;
        Ok((header.summary, Store::new(weights)))
    }
}

fn write(out: &mut BufWriter<File>, key: &str, summary: &str, store: &Store) -> io::Result<()> {
    let weights = store
        .iter()
        .map(|(key, weight)| (key.clone(), entries(weight)));
    let header = serde_json::to_vec(&Header {
        key: key.to_owned(),
        summary: summary.to_owned(),
        weights: weights.collect(),
    })?;
    out.write_all(MAGIC)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&array_file::checksum(&header).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, weight) in store.iter() {
        match weight {
            QuantizedWeight::F32(array) => array_file::write(out, array)?,
            QuantizedWeight::Int8(Quantized { values, scales }) => {
                array_file::write(out, values)?;
                array_file::write(out, scales)?;
            }
            QuantizedWeight::Int16(Quantized { values, scales }) => {
                array_file::write(out, values)?;
                array_file::write(out, scales)?;
            }
        }
    }
    Ok(())
}

fn entries(weight: &QuantizedWeight) -> Vec<Entry> {
    match weight {
        QuantizedWeight::F32(array) => vec![entry(array)],
        QuantizedWeight::Int8(Quantized { values, scales }) => vec![entry(values), entry(scales)],
        QuantizedWeight::Int16(Quantized { values, scales }) => vec![entry(values), entry(scales)],
    }
}

fn entry<T: array_file::Stored>(array: &Array<T>) -> Entry {
    Entry {
        element: T::ELEMENT,
        shape: array.shape().iter().map(|&axis| axis as usize).collect(),
        checksum: array_file::checksum_of(array),
    }
}
