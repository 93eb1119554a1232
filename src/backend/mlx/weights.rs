//! Checkpoint tensors into arrays, converted window by window while they are copied by several threads.

use half::{bf16, f16};

use super::array::{Array, Writer, size_of_element};
use super::ffi::bridge::{DeviceKind, ElementType};
use super::linear::Matrix;
use super::packed::PackedMatrix;
use crate::checkpoint::{Checkpoint, Packed, TABLE, Tensor, Weight};
use crate::dtype::Dtype;
use crate::error::Result;

/// Loads tensors of one checkpoint onto one device, in one element type; codes, byte scales and a
/// table of half precision as they are.
///
/// Beside the arrays themselves, loading holds one window of a tensor: nothing is converted or
/// fused on the device.
pub(super) struct Weights<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) device: DeviceKind,
    pub(super) element_type: ElementType,
}

impl Weights<'_> {
    /// Bytes of all arrays.
    pub(super) fn bytes(&self) -> Result<u64> {
        let sizes = self.checkpoint.keys().map(|key| {
            let tensor = self.checkpoint.tensor(key)?;
            let elements: usize = tensor.shape().iter().product();
            Ok((elements * size_of_element(self.held_as(&tensor))) as u64)
        });
        sizes.sum()
    }

    /// A vector, repeated as rows.
    pub(super) fn repeated(&self, parts: &[(&str, usize)]) -> Result<Array> {
        let mut rows = Vec::new();
        for &(key, times) in parts {
            let tensor = self.checkpoint.tensor(key)?;
            rows.extend(std::iter::repeat_n(tensor, times));
        }
        let columns = rows[0].shape()[0];
        self.fill(&[rows.len(), columns], &rows)
    }

    /// A vector.
    pub(super) fn get(&self, key: &str) -> Result<Array> {
        let tensor = self.checkpoint.tensor(key)?;
        self.fill(tensor.shape(), &[tensor])
    }

    /// The matrices at `paths`, which have equally many columns, below each other: as one where
    /// they are packed alike, else in parts.
    pub(super) fn matrices(&self, paths: &[&str]) -> Result<Vec<Matrix>> {
        let mut groups: Vec<Vec<Weight<'_>>> = Vec::new();
        for path in paths {
            let weight = self.checkpoint.weight(&format!("{path}.weight"))?;
            let packing = |weight: &Weight<'_>| weight.packed.map(|packed| packed.quantization);
            match groups.last_mut() {
                Some(group) if packing(&group[0]) == packing(&weight) => group.push(weight),
                _ => groups.push(vec![weight]),
            }
        }
        groups.iter().map(|group| self.matrix(group)).collect()
    }

    /// Matrices that are packed alike, below each other.
    fn matrix(&self, weights: &[Weight<'_>]) -> Result<Matrix> {
        let tensors: Vec<_> = weights.iter().map(|weight| weight.tensor).collect();
        let weight = self.rows(&tensors)?;
        let packed: Vec<Packed<'_>> = weights.iter().filter_map(|weight| weight.packed).collect();
        let Some(&Packed { quantization, .. }) = packed.first() else {
            return Ok(Matrix::Dense(weight));
        };
        let scales: Vec<_> = packed.iter().map(|packed| packed.scales).collect();
        let biases: Vec<_> = packed.iter().filter_map(|packed| packed.biases).collect();
        Ok(Matrix::Packed(PackedMatrix {
            weight,
            scales: self.rows(&scales)?,
            biases: match biases.is_empty() {
                true => None,
                false => Some(self.rows(&biases)?),
            },
            quantization,
        }))
    }

    /// Tensors `[rows_i, C]` below each other, as one `[sum of rows_i, C]`.
    fn rows(&self, tensors: &[Tensor<'_>]) -> Result<Array> {
        let rows = tensors.iter().map(|tensor| tensor.shape()[0]).sum();
        self.fill(&[rows, tensors[0].shape()[1]], tensors)
    }

    /// An array of `shape` that holds `tensors` one after the other.
    fn fill(&self, shape: &[usize], tensors: &[Tensor<'_>]) -> Result<Array> {
        Array::build(shape, self.held_as(&tensors[0]), self.device, |writer| {
            tensors
                .iter()
                .try_for_each(|tensor| self.copy(tensor, writer))
        })
    }

    /// The embedding table keeps the half type that the checkpoint has it in: of its rows, those of a
    /// batch are converted when they are read.
    fn held_as(&self, tensor: &Tensor<'_>) -> ElementType {
        let is_table = || tensor.name().ends_with(TABLE);
        match tensor.dtype() {
            Dtype::U32 => ElementType::U32,
            Dtype::U8 => ElementType::U8,
            Dtype::F16 if is_table() => ElementType::F16,
            Dtype::Bf16 if is_table() => ElementType::Bf16,
            _ => self.element_type,
        }
    }

    fn copy(&self, tensor: &Tensor<'_>, writer: &mut Writer) -> Result<()> {
        let (from, to) = (tensor.dtype(), self.held_as(tensor));
        tensor.for_each_window(|window| match to {
            _ if is_same(from, to) => writer.write(window),
            ElementType::F16 => writer.convert(window, from, f16::from_f32),
            ElementType::Bf16 => writer.convert(window, from, bf16::from_f32),
            _ => writer.convert(window, from, |value| value),
        })
    }
}

fn is_same(from: Dtype, to: ElementType) -> bool {
    matches!(
        (from, to),
        (Dtype::F32, ElementType::F32)
            | (Dtype::F16, ElementType::F16)
            | (Dtype::Bf16, ElementType::Bf16)
            | (Dtype::U32, ElementType::U32)
            | (Dtype::U8, ElementType::U8)
    )
}
