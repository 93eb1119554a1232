//! A matrix of a checkpoint, quantised a few rows at a time.

use super::array::{Array, failed};
use super::ffi::bridge::{DeviceKind, ElementType};
use super::limits::Limits;
use super::packed::PackedMatrix;
use super::runtime;
use crate::backend::{Device, Precision};
use crate::checkpoint::Tensor;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::quantization::Quantization;

/// Bytes of a matrix that are held at a time, unless a row has more.
const BLOCK: usize = 64 << 20;

/// Gives `write` the codes, scales and biases of consecutive rows; biases are empty but in mode
/// affine. Groups divide the columns of `tensor`, and it holds floats.
pub(crate) fn pack(
    tensor: &Tensor<'_>,
    quantization: Quantization,
    write: &mut dyn FnMut([&[u8]; 3]) -> Result<()>,
) -> Result<()> {
    // On the processor, so that the same checkpoint gives the same file everywhere.
    runtime::probe(Device::Cpu, Precision::F32)?;
    runtime::prepare(DeviceKind::Cpu, Limits::default())?;
    let element_type = match tensor.dtype() {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        Dtype::Bf16 => ElementType::Bf16,
        other => {
            return Err(failed(
                "quantize",
                format!("expected floats, found {other}"),
            ));
        }
    };
    let columns = tensor.shape()[1];
    let row = columns * tensor.dtype().size();
    tensor.for_each_block(row * (BLOCK / row).max(1), |block| {
        let shape = [block.len() / row, columns];
        let rows = Array::build(&shape, element_type, DeviceKind::Cpu, |writer| {
            writer.write(block)
        })?;
        let packed = PackedMatrix::quantize(&rows, quantization)?;
        let biases = packed.biases.as_ref().map(Array::to_bytes).transpose()?;
        write([
            &packed.weight.to_bytes()?,
            &packed.scales.to_bytes()?,
            &biases.unwrap_or_default(),
        ])
    })
}
