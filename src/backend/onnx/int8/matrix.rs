//! Weights on their way to int8: read, folded, rotated, quantised per output channel.

use std::fmt::Debug;

use ort::value::{PrimitiveTensorElementType, Tensor as Array};

use super::rotation::Rotation;
use crate::backend::onnx::array::StoredArray;
use crate::backend::onnx::ops::int8_array;
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

/// What a channel's largest element becomes.
const LARGEST: f32 = i8::MAX as f32;

/// The same of the embedding table.
const LARGEST_OF_TABLE: f32 = i16::MAX as f32;

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

    pub(super) fn rows(&self) -> usize {
        self.rows
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

    pub(super) fn transposed(&self) -> Self {
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

    /// The largest Euclidean norm of a column.
    pub(super) fn largest_column(&self) -> f64 {
        let mut squares = vec![0.0_f64; self.columns];
        for row in self.data.chunks_exact(self.columns) {
            for (sum, &value) in squares.iter_mut().zip(row) {
                *sum += f64::from(value) * f64::from(value);
            }
        }
        squares.into_iter().fold(0.0, f64::max).sqrt()
    }

    /// As an array of ONNX Runtime.
    pub(super) fn to_array(&self) -> Result<StoredArray> {
        Ok(array([self.rows, self.columns], self.data.iter().copied())?.into())
    }

    /// Int8 values, and a scale for each column.
    pub(super) fn quantized_columns(&self) -> Result<[StoredArray; 2]> {
        let mut scales = vec![0.0_f32; self.columns];
        for row in self.data.chunks_exact(self.columns) {
            for (most, value) in scales.iter_mut().zip(row) {
                *most = most.max(value.abs());
            }
        }
        scales
            .iter_mut()
            .for_each(|scale| *scale = step(*scale / LARGEST));
        let rows = self.data.chunks_exact(self.columns);
        let values =
            rows.flat_map(|row| row.iter().zip(&scales).map(|(x, s)| rounded(x / s) as i8));
        let values = int8_array([self.rows, self.columns], values);
        let values = values.map_err(|error| failed("allocate", error))?;
        let scales = array([self.columns], scales.iter().copied())?;
        Ok([values, scales.into()])
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
    let scale = step(largest / LARGEST_OF_TABLE);
    for (place, value) in values.iter_mut().zip(row) {
        *place = (value / scale).round_ties_even() as i16;
    }
    scale
}

/// A scale that can be divided by, also for a channel of zeros.
fn step(scale: f32) -> f32 {
    scale.max(f32::MIN_POSITIVE)
}

/// The nearest step. Rounding of the quotient can lead just beyond the largest one.
fn rounded(value: f32) -> f32 {
    value.round_ties_even().clamp(-LARGEST, LARGEST)
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

#[cfg(test)]
mod tests {
    use ort::value::TensorElementType;

    use super::*;
    use crate::backend::onnx::library;

    #[test]
    fn every_channel_has_its_scale() {
        library::load(None).unwrap();
        let matrix = Matrix {
            rows: 3,
            columns: 2,
            data: vec![1.0, -0.5, -1.0, 0.25, 0.0, 0.5],
        };
        let [values, scales] = matrix.quantized_columns().unwrap();
        let found: Vec<i8> = match values.element() {
            TensorElementType::Int8 => values.bytes().iter().map(|b| b.cast_signed()).collect(),
            // Bytes of which 128 is zero.
            TensorElementType::Uint8 => {
                let bytes = values.bytes().iter();
                bytes.map(|b| b.wrapping_sub(128).cast_signed()).collect()
            }
            other => panic!("{other}"),
        };
        assert_eq!(found, [127, -127, -127, 64, 0, 127]);
        assert_eq!(**values.shape(), [3, 2]);
        let steps = [1.0_f32, 0.5].map(|largest| largest / 127.0);
        assert_eq!(scales.bytes(), bytemuck::cast_slice::<f32, u8>(&steps));
    }
}
