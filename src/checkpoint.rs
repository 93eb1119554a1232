//! Safetensors shards -> the tensors that the configuration calls for, checked and memory-mapped.

#[cfg(feature = "onnx")]
mod codes;
mod expected;
mod find;
mod header;
mod index;
mod packing;
mod shard;
mod tensor;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
#[cfg(feature = "onnx")]
use crate::file;
use crate::quantization::{Quantization, QuantizationMode};
use header::Entry;
use packing::Kind;
use shard::Shard;

#[cfg(any(feature = "mlx", feature = "onnx"))]
pub(crate) use expected::TABLE;
#[cfg(feature = "hub")]
pub(crate) use index::shard_names;
pub use tensor::Tensor;
pub(crate) use weight::{Packed, Weight};

/// The weights of a model: each is there once, in the right shape, and nothing else is.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    /// By key without `model.`.
    tensors: BTreeMap<String, Stored>,
    /// By path: the key of a matrix without `.weight`.
    packed: BTreeMap<String, Quantization>,
}

#[derive(Debug, Clone)]
struct Stored {
    shard: Arc<Shard>,
    entry: Entry,
}

impl Checkpoint {
    /// Opens `model.safetensors` in `dir` or, if there is none, the shards that
    /// `model.safetensors.index.json` names (the order in which transformers looks).
    ///
    /// Reads the headers only. The files must not be written to or truncated while the checkpoint
    /// is in use: they are memory-mapped, and a page that is gone ends the process. Replace a file
    /// by renaming another over it.
    ///
    /// The language model's head, `lm_head.weight`, may be there and is left out. A matrix may be
    /// quantised, if the configuration has `quantization`: then `weight` holds codes, `scales` and,
    /// in mode affine, `biases` lie beside it.
    ///
    /// # Errors
    /// `MissingFile` or `Io` if a file is not there or cannot be read; a variant named
    /// `Safetensors...`, `Tensor...` or `Shard...` for what is wrong with its content.
    pub fn open(dir: &Path, config: &ModelConfig) -> Result<Self> {
        let mut found = find::find(dir)?;
        for part in ["weight", "scales", "biases"] {
            found.remove(&format!("lm_head.{part}"));
        }
        let (mut tensors, mut packed) = (BTreeMap::new(), BTreeMap::new());
        for (key, shape) in expected::tensors(config) {
            let path = key.trim_end_matches(".weight");
            let packing = |quantizations| packing::of_matrix(quantizations, path, &found);
            match (config.quantization().and_then(packing), shape.as_slice()) {
                (Some(quantization), &[rows, columns]) => {
                    let shape = [rows, columns];
                    tensors.extend(packing::take(dir, path, shape, quantization, &mut found)?);
                    packed.insert(path.to_owned(), quantization);
                }
                _ => {
                    let stored = found.remove(&key).ok_or_else(|| missing(dir, &key))?;
                    Kind::Float.check(&stored)?;
                    stored.check_shape(shape)?;
                    tensors.insert(key, stored);
                }
            }
        }
        if let Some(Stored { shard, entry }) = found.into_values().next() {
            return Err(Error::TensorUnexpected {
                path: shard.path.clone(),
                tensor: entry.name,
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            tensors,
            packed,
        })
    }

    /// Gives `each` what tells this checkpoint from another: name, type and shape of every tensor
    /// and [samples](Tensor::sample) of its bytes. Reading gigabytes would take longer than a load
    /// may; training changes every tensor it touches throughout.
    pub(crate) fn sample(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for (key, Stored { shard, entry }) in &self.tensors {
            each(format!("{key} {} {:?}\n", entry.dtype, entry.shape).as_bytes());
            Tensor { shard, entry }.sample(each)?;
        }
        Ok(())
    }

    /// The tensor `key`, without `model.`: `layers.0.self_attn.q_proj.weight`.
    ///
    /// # Errors
    /// `TensorMissing` if the configuration does not call for it.
    pub fn tensor(&self, key: &str) -> Result<Tensor<'_>> {
        match self.tensors.get(key) {
            Some(Stored { shard, entry }) => Ok(Tensor { shard, entry }),
            None => Err(missing(&self.dir, key)),
        }
    }

    /// The weight `key`, quantised or not.
    pub(crate) fn weight(&self, key: &str) -> Result<Weight<'_>> {
        let path = key.trim_end_matches(".weight");
        let part = |part: &str| self.tensor(&format!("{path}.{part}"));
        let packed = match self.packed.get(path) {
            None => None,
            Some(&quantization) => Some(Packed {
                quantization,
                scales: part("scales")?,
                biases: match quantization.mode() {
                    QuantizationMode::Affine => Some(part("biases")?),
                    _ => None,
                },
            }),
        };
        let tensor = self.tensor(key)?;
        Ok(Weight { tensor, packed })
    }

    /// The keys of all weights: those of [`keys`](Self::keys) but for scales and biases.
    pub(crate) fn weights(&self) -> impl Iterator<Item = &str> {
        self.keys().filter(|key| key.ends_with(".weight"))
    }

    /// How the matrices are packed, each way named once, then `float` if some are not, joined by
    /// `+`: `affine-4bit-g64`. None if no matrix is quantised.
    pub fn quantization(&self) -> Option<String> {
        let ways: BTreeSet<String> = self.packed.values().map(ToString::to_string).collect();
        let is_matrix = |stored: &Stored| stored.entry.shape.len() == 2;
        let matrices = self
            .weights()
            .filter(|key| self.tensors.get(*key).is_some_and(is_matrix));
        let rest = (matrices.count() > self.packed.len()).then(|| "float".to_owned());
        let any = !ways.is_empty();
        any.then(|| ways.into_iter().chain(rest).collect::<Vec<_>>().join("+"))
    }

    /// The keys of all tensors, without `model.` and without the language model's head.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What tells, without reading them, that the files are the same as before: their paths,
    /// lengths, times of change and inodes. `None` where the system does not say.
    #[cfg(feature = "onnx")]
    pub(crate) fn stamp(&self) -> Option<String> {
        let shards = self.tensors.values().map(|stored| &stored.shard.path);
        let shards: BTreeSet<_> = shards.collect();
        shards.into_iter().map(|path| file::stamp(path)).collect()
    }

    /// Elements of all weights, quantised or not, without the language model's head.
    pub fn elements(&self) -> u64 {
        let weights = self.weights().filter_map(|key| self.weight(key).ok());
        weights.map(|weight| weight.elements() as u64).sum()
    }

    /// Bytes of all tensors as they are stored, without the language model's head.
    pub fn weight_bytes(&self) -> u64 {
        self.tensors
            .values()
            .map(|stored| stored.entry.len as u64)
            .sum()
    }
}

impl Stored {
    fn check_shape(&self, expected: Vec<usize>) -> Result<()> {
        if self.entry.shape == expected {
            return Ok(());
        }
        Err(Error::TensorShape {
            path: self.shard.path.clone(),
            tensor: self.entry.name.clone(),
            expected,
            found: self.entry.shape.clone(),
        })
    }
}

fn missing(dir: &Path, key: &str) -> Error {
    Error::TensorMissing {
        path: dir.to_owned(),
        tensor: key.to_owned(),
    }
}
