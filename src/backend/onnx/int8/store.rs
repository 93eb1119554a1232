//! The weights of an int8 model, by the keys of the checkpoint that they were made from.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ort::value::{PrimitiveTensorElementType, Tensor};

use super::matrix::{Quantized, array};
use crate::backend::onnx::failed;
use crate::backend::onnx::ops::Stored;
use crate::backend::onnx::weights::{Weight, Weights};
use crate::error::Result;

/// A weight of an int8 model.
pub(in crate::backend::onnx) enum QuantizedWeight {
    /// Laid out as in the checkpoint.
    F32(Tensor<f32>),
    /// A linear layer, `(in, out)`.
    Int8(Quantized<i8>),
    /// The embedding table.
    Int16(Quantized<i16>),
}

/// Weights that a graph takes one by one.
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

    /// A copy of the weights of the first `layers` blocks.
    pub(in crate::backend::onnx) fn first(&self, layers: usize) -> Self {
        let prefixes: Vec<String> = (0..layers)
            .map(|layer| format!("layers.{layer}."))
            .collect();
        let of_these = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let weights = self.iter().filter(|(key, _)| of_these(key));
        Self {
            weights: weights
                .map(|(key, weight)| (key.clone(), weight.clone()))
                .collect(),
        }
    }

    /// Bytes of all arrays that have not been taken.
    pub(in crate::backend::onnx) fn bytes(&self) -> usize {
        self.weights.values().map(QuantizedWeight::bytes).sum()
    }
}

impl Weights for Store {
    fn take(&mut self, key: &str) -> Result<Weight> {
        let weight = self.weights.remove(key);
        let weight =
            weight.ok_or_else(|| failed("load", format!("the int8 model has no {key}")))?;
        Ok(match weight {
            QuantizedWeight::F32(array) => Weight::F32(Stored::Initializer(array.upcast())),
            QuantizedWeight::Int8(quantized) => Weight::Int8(quantized),
            QuantizedWeight::Int16(quantized) => Weight::Int16(quantized),
        })
    }
}

impl QuantizedWeight {
    fn bytes(&self) -> usize {
        match self {
            Self::F32(array) => bytes(array),
            Self::Int8(Quantized { values, scales }) => bytes(values) + bytes(scales),
            Self::Int16(Quantized { values, scales }) => bytes(values) + bytes(scales),
        }
    }
}

fn bytes<T: PrimitiveTensorElementType + Debug>(array: &Tensor<T>) -> usize {
    array.shape().num_elements() * size_of::<T>()
}

impl Clone for QuantizedWeight {
    fn clone(&self) -> Self {
        match self {
            Self::F32(array) => Self::F32(array.clone()),
            Self::Int8(quantized) => Self::Int8(quantized.clone()),
            Self::Int16(quantized) => Self::Int16(quantized.clone()),
        }
    }
}

/// The gain of a norm that has none, its own being folded into the layers after it.
pub(super) fn ones(size: usize) -> Result<QuantizedWeight> {
    Ok(QuantizedWeight::F32(array(
        [size],
        std::iter::repeat_n(1.0, size),
    )?))
}
