//! Weights on their way to int8: read, folded, rotated, laid out.

use std::fmt::Debug;
use std::sync::Arc;

use kernels::{Element, Layout};
use ort::value::{PrimitiveTensorElementType, Tensor as Array};

use super::rotation::Rotation;
use super::store::QuantizedWeight;
use crate::backend::onnx::panels::{self, Panels};
use crate::backend::onnx::{failed, pages};
use crate::checkpoint::Weight;
use crate::error::{Error, Result};

/// A matrix in f32, row by row.
#[derive(Clone)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f32>,
}

/// What the largest element of a row of the embedding table becomes.
const LARGEST: f32 = i16::MAX as f32;

impl Matrix {
    /// A weight of one or two axes, every element finite.
    pub(super) fn read(weight: &Weight<'_>) -> Result<Self> {
        let data = weight.to_f32()?;
        if let Some(value) = data.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotQuantizable {
                tensor: weight.tensor.name().to_owned(),
                reason: format!("expected finite elements, found {value}"),
            });
        }
        let columns = weight.shape().last().copied().unwrap_or(1);
        Ok(Self {
            rows: data.len() / columns,
            columns,
            data,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn data(&self) -> &[f32] {
        &self.data
    }

    /// Multiplies column `i` by `factors[i]`.
    pub(super) fn scale_columns(&mut self, factors: &[f32]) {
        for row in self.data.chunks_exact_mut(self.columns) {
            for (value, factor) in row.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
    }

    /// Rotates each row, or each part of it that is as wide as the rotation.
    pub(super) fn rotate(&mut self, rotation: &Rotation) {
        rotation.apply(&mut self.data);
    }

    /// Rotates each column, or each part of it that is as wide as the rotation.
    pub(super) fn rotate_columns(&mut self, rotation: &Rotation) {
        let mut columns = self.transposed();
        columns.rotate(rotation);
        *self = columns.transposed();
    }

    fn transposed(&self) -> Self {
        const TILE: usize = 32; // two tiles fit into the first cache
        let mut data = vec![0.0; self.data.len()];
        for row0 in (0..self.rows).step_by(TILE) {
            for column0 in (0..self.columns).step_by(TILE) {
                for row in row0..self.rows.min(row0 + TILE) {
                    for column in column0..self.columns.min(column0 + TILE) {
                        data[column * self.rows + row] = self.data[row * self.columns + column];
                    }
                }
            }
        }
        Self {
            rows: self.columns,
            columns: self.rows,
            data,
        }
    }

    /// The largest Euclidean norm of a row.
    pub(super) fn largest_row(&self) -> f64 {
        let norm = |row: &[f32]| {
            let squares = row.iter().map(|&value| f64::from(value) * f64::from(value));
            squares.sum::<f64>()
        };
        let rows = self.data.chunks_exact(self.columns.max(1)).map(norm);
        rows.fold(0.0, f64::max).sqrt()
    }

    /// As the weight of a linear layer: in int8, or in f32.
    pub(super) fn to_weight(&self, element: Element) -> Result<QuantizedWeight> {
        let Some(layout) = Layout::new([self.rows, self.columns], element) else {
            let data = self.data.iter().copied();
            let array = array([self.rows, self.columns], data)?;
            return Ok(QuantizedWeight::F32(Arc::new(array.into())));
        };
        let panels = Panels::filled(layout, |memory| panels::put(&layout, &self.data, memory))?;
        Ok(QuantizedWeight::Linear(Arc::new(panels)))
    }
}

/// Quantises a row of the embedding table and gives its scale, not finite if the row is not.
pub(super) fn quantize_row(row: &[f32], values: &mut [i16]) -> f32 {
    // A maximum would pass over a NaN; a sum does not.
    let sum: f32 = row.iter().map(|value| value.abs()).sum();
    if !sum.is_finite() {
        return f32::NAN;
    }
    let largest = row
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = step(largest / LARGEST);
    for (place, value) in values.iter_mut().zip(row) {
        *place = (value / scale).round_ties_even() as i16;
    }
    scale
}

/// A scale that can be divided by, also for a channel of zeros.
fn step(scale: f32) -> f32 {
    scale.max(f32::MIN_POSITIVE)
}

/// An array that a graph can take without copying it.
pub(super) fn array<T: PrimitiveTensorElementType + Debug>(
    shape: impl AsRef<[usize]>,
    values: impl Iterator<Item = T>,
) -> Result<Array<T>> {
    let array = pages::array::<T>(shape.as_ref());
    let mut array = array.map_err(|error| failed("allocate", error))?;
    for (place, value) in array.extract_tensor_mut().1.iter_mut().zip(values) {
        *place = value;
    }
    Ok(array)
}
