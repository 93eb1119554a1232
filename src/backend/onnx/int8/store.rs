//! The weights of an int8 model, by the keys of the checkpoint that they were made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use memmap2::Mmap;

use super::matrix::array;
use crate::backend::onnx::array::StoredArray;
use crate::backend::onnx::failed;
use crate::backend::onnx::ops::Stored;
use crate::backend::onnx::weights::{Weight, Weights};
use crate::error::Result;

/// A weight of an int8 model.
pub(in crate::backend::onnx) enum QuantizedWeight {
    /// Laid out as in the checkpoint.
    F32(StoredArray),
    /// A linear layer as `(in, out)`, or the embedding table, and the scale of each output or row.
    Quantized([StoredArray; 2]),
}

/// Weights that a graph takes one by one.
pub(in crate::backend::onnx) struct Store {
    weights: BTreeMap<String, QuantizedWeight>,
    /// The file that arrays may be parts of.
    file: Option<Arc<Mmap>>,
}

impl Store {
    pub(super) fn new(weights: BTreeMap<String, QuantizedWeight>) -> Self {
        Self {
            weights,
            file: None,
        }
    }

    pub(super) fn of_file(weights: BTreeMap<String, QuantizedWeight>, file: Arc<Mmap>) -> Self {
        Self {
            weights,
            file: Some(file),
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.weights.extend(other.weights);
    }

    pub(super) fn insert(&mut self, key: &str, weight: QuantizedWeight) {
        self.weights.insert(key.to_owned(), weight);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &QuantizedWeight)> {
        self.weights.iter()
    }

    /// A copy of all weights.
    pub(super) fn try_clone(&self) -> Result<Self> {
        self.copy_where(|_| true)
    }

    /// A copy of the weights of the first `layers` blocks.
    pub(in crate::backend::onnx) fn first(&self, layers: usize) -> Result<Self> {
        let prefixes: Vec<String> = (0..layers)
            .map(|layer| format!("layers.{layer}."))
            .collect();
        self.copy_where(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }

    fn copy_where(&self, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let weights = self.iter().filter(|(key, _)| wanted(key));
        let weights = weights.map(|(key, weight)| {
            let copy = weight.try_clone();
            Ok((key.clone(), copy.map_err(|e| failed("allocate", e))?))
        });
        Ok(Self::new(weights.collect::<Result<_>>()?))
    }

    /// Bytes of all arrays that have not been taken.
    pub(in crate::backend::onnx) fn bytes(&self) -> usize {
        let arrays = self.weights.values().flat_map(QuantizedWeight::arrays);
        arrays.map(|array| array.bytes().len()).sum()
    }

    /// Lets go of the pages of the file: sessions have repacked what they read from it. Whoever
    /// reads it nevertheless gets them again.
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "advice on a mapping")]
    pub(in crate::backend::onnx) fn release(&self) {
        if let Some(file) = &self.file {
            // SAFETY: nobody has written to the mapping, which is read-only, so that its pages come
            // back from the file as they were.
            let advice = unsafe { file.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            if let Err(error) = advice {
                tracing::debug!("pages are kept: {error}");
            }
        }
    }

    #[cfg(not(unix))]
    pub(in crate::backend::onnx) fn release(&self) {}
}

impl Weights for Store {
    fn take(&mut self, key: &str) -> Result<Weight> {
        let weight = self.weights.remove(key);
        let weight =
            weight.ok_or_else(|| failed("load", format!("the int8 model has no {key}")))?;
        Ok(match weight {
            QuantizedWeight::F32(array) => Weight::F32(Stored::Initializer(array)),
            QuantizedWeight::Quantized(arrays) => Weight::Quantized(arrays),
        })
    }
}

impl QuantizedWeight {
    /// Its arrays in the order of the cache's file.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &StoredArray> {
        match self {
            Self::F32(array) => std::slice::from_ref(array).iter(),
            Self::Quantized(arrays) => arrays.iter(),
        }
    }

    fn try_clone(&self) -> ort::Result<Self> {
        Ok(match self {
            Self::F32(array) => Self::F32(array.try_clone()?),
            Self::Quantized([values, scales]) => {
                Self::Quantized([values.try_clone()?, scales.try_clone()?])
            }
        })
    }
}

/// The gain of a norm that has none, its own being folded into the layers after it.
pub(super) fn ones(size: usize) -> Result<QuantizedWeight> {
    let ones = array([size], std::iter::repeat_n(1.0_f32, size))?;
    Ok(QuantizedWeight::F32(ones.into()))
}
