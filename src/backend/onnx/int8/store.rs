//! The weights of an int8 model, by the keys of the checkpoint that they were made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::matrix::array;
use crate::backend::onnx::array::StoredArray;
use crate::backend::onnx::failed;
use crate::backend::onnx::ops::Stored;
use crate::backend::onnx::panels::Panels;
use crate::backend::onnx::weights::{Weight, Weights};
use crate::error::Result;

/// A weight of an int8 model, which any number of sessions read.
#[derive(Clone)]
pub(in crate::backend::onnx) enum QuantizedWeight {
    /// Laid out as in the checkpoint.
    F32(Arc<StoredArray>),
    /// The embedding table, and the scale of each row.
    Table([Arc<StoredArray>; 2]),
    /// A linear layer.
    Linear(Arc<Panels>),
}

/// All weights of a model, or of some layers.
#[derive(Clone)]
pub(in crate::backend::onnx) struct Store {
    weights: BTreeMap<String, QuantizedWeight>,
}

impl Store {
    pub(super) fn new(weights: BTreeMap<String, QuantizedWeight>) -> Self {
        Self { weights }
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

    /// Bytes of all weights.
    pub(in crate::backend::onnx) fn bytes(&self) -> usize {
        self.weights.values().map(QuantizedWeight::len).sum()
    }
}

impl Weights for Store {
    fn take(&mut self, key: &str) -> Result<Weight> {
        let weight = self.weights.get(key).cloned();
        let weight =
            weight.ok_or_else(|| failed("load", format!("the int8 model has no {key}")))?;
        Ok(match weight {
            QuantizedWeight::F32(array) => Weight::F32(Stored::Input(array)),
            QuantizedWeight::Table(arrays) => Weight::Table(arrays.map(Stored::Input)),
            QuantizedWeight::Linear(panels) => Weight::Panels(panels),
        })
    }
}

impl QuantizedWeight {
    fn len(&self) -> usize {
        match self {
            Self::F32(array) => array.bytes().len(),
            Self::Table(arrays) => arrays.iter().map(|array| array.bytes().len()).sum(),
            Self::Linear(panels) => panels.bytes().len(),
        }
    }
}

/// The gain of a norm that has none, its own being folded into the layers after it.
pub(super) fn ones(size: usize) -> Result<QuantizedWeight> {
    let ones = array([size], std::iter::repeat_n(1.0_f32, size))?;
    Ok(QuantizedWeight::F32(Arc::new(ones.into())))
}
