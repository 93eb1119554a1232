//! Checkpoint tensors into arrays, converted window by window while they are copied.

use half::{bf16, f16};

use super::array::{Array, Writer};
use super::ffi::bridge::{DeviceKind, ElementType};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::dtype::Dtype;
use crate::error::Result;

/// Loads tensors of one checkpoint onto one device, in one element type.
///
/// Beside the arrays themselves, loading holds one window of a tensor: nothing is converted or
/// fused on the device.
pub(super) struct Weights<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) device: DeviceKind,
    pub(super) element_type: ElementType,
}

impl Weights<'_> {
    pub(super) fn get(&self, key: &str) -> Result<Array> {
        let tensor = self.checkpoint.tensor(key)?;
        Array::build(tensor.shape(), self.element_type, self.device, |writer| {
            self.copy(&tensor, writer)
        })
    }

    /// Matrices `[rows_i, C]` stacked into one `[sum of rows_i, C]`.
    pub(super) fn rows(&self, keys: &[&str]) -> Result<Array> {
        let tensors = keys
            .iter()
            .map(|key| self.checkpoint.tensor(key))
            .collect::<Result<Vec<_>>>()?;
        let rows = tensors.iter().map(|tensor| tensor.shape()[0]).sum();
        let columns = tensors[0].shape()[1];
        Array::build(&[rows, columns], self.element_type, self.device, |writer| {
            tensors
                .iter()
                .try_for_each(|tensor| self.copy(tensor, writer))
        })
    }

    fn copy(&self, tensor: &Tensor<'_>, writer: &mut Writer) -> Result<()> {
        let (from, to) = (tensor.dtype(), self.element_type);
        let mut converted = Vec::new();
        tensor.for_each_window(|window| {
            if is_same(from, to) {
                return writer.write(window);
            }
            converted.clear();
            from.decode(window, |value| push(value, to, &mut converted));
            writer.write(&converted)
        })
    }
}

fn is_same(from: Dtype, to: ElementType) -> bool {
    matches!(
        (from, to),
        (Dtype::F32, ElementType::F32)
            | (Dtype::F16, ElementType::F16)
            | (Dtype::Bf16, ElementType::Bf16)
    )
}

fn push(value: f32, to: ElementType, out: &mut Vec<u8>) {
    match to {
        ElementType::F16 => out.extend(f16::from_f32(value).to_ne_bytes()),
        ElementType::Bf16 => out.extend(bf16::from_f32(value).to_ne_bytes()),
        _ => out.extend(value.to_ne_bytes()),
    }
}
