//! Matrices as a checkpoint stores them, and the layers made of them.

use super::array::{Array, failed};
use super::ffi::bridge::ElementType;
use super::packed::PackedMatrix;
use super::weights::Weights;
use crate::error::Result;

/// `[out, in]`, or rows of a table.
pub(super) enum Matrix {
    Dense(Array),
    Packed(PackedMatrix),
}

/// A linear layer without bias.
pub(super) enum Linear {
    /// `[in, out]`, a view of the checkpoint's layout.
    Dense(Array),
    Packed(PackedMatrix),
    /// Layers of one input that are not packed alike; their outputs follow each other.
    Apart(Vec<Linear>),
}

impl Linear {
    /// The layers at `paths`, which read the same input, as one.
    pub(super) fn load(weights: &Weights<'_>, paths: &[&str]) -> Result<Self> {
        let mut layers = weights
            .matrices(paths)?
            .into_iter()
            .map(|matrix| match matrix {
                Matrix::Packed(matrix) => Ok(Self::Packed(matrix)),
                Matrix::Dense(weight) => {
                    let transposed = weight.transpose(&[1, 0])?;
                    // A view: evaluated now, it is in no forward pass's graph.
                    transposed.eval()?;
                    Ok(Self::Dense(transposed))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        match layers.len() {
            1 => Ok(layers.remove(0)),
            _ => Ok(Self::Apart(layers)),
        }
    }

    /// `(T, in)` to `(T, out)`, in the precision of `x`.
    pub(super) fn forward(&self, x: &Array) -> Result<Array> {
        match self {
            Self::Dense(weight) => x.matmul(&weight.astype(x.element_type()?)?),
            Self::Packed(matrix) => matrix.multiplied(x),
            Self::Apart(layers) => {
                let mut outputs = layers.iter().map(|layer| layer.forward(x));
                let first = outputs.next().ok_or_else(|| failed("linear", "no layer"))?;
                outputs.try_fold(first?, |all, output| all.concatenate(&output?, 1))
            }
        }
    }

    /// `residual` plus what the layer makes of `x`.
    pub(super) fn add_to(&self, residual: &Array, x: &Array) -> Result<Array> {
        match self {
            Self::Dense(weight) => residual.addmm(x, &weight.astype(x.element_type()?)?),
            _ => residual.add(&self.forward(x)?),
        }
    }
}

/// The table of token embeddings.
pub(super) struct Embedding(Matrix);

impl Embedding {
    pub(super) fn load(weights: &Weights<'_>, path: &str) -> Result<Self> {
        let mut matrices = weights.matrices(&[path])?;
        Ok(Self(matrices.remove(0)))
    }

    /// Rows of `ids` as `(T, hidden)`, in the precision `compute`.
    pub(super) fn forward(&self, ids: &[u32], compute: ElementType) -> Result<Array> {
        match &self.0 {
            Matrix::Dense(table) => table.take_rows(ids, &[ids.len()])?.astype(compute),
            Matrix::Packed(table) => table.take_rows(ids, compute),
        }
    }
}
