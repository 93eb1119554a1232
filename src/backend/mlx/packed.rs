//! A quantised matrix on the device.

use cxx::UniquePtr;

use super::array::{Array, failed};
use super::ffi::bridge::{self, ElementType, MxArray, Packing};
use crate::error::Result;
use crate::quantization::Quantization;

/// `[out, in]`: codes, and the scales and biases of their groups.
pub(super) struct PackedMatrix {
    pub(super) weight: Array, // u32 [out, in * bits / 32]
    pub(super) scales: Array, // [out, in / group_size]
    pub(super) biases: Option<Array>,
    pub(super) quantization: Quantization,
}

impl PackedMatrix {
    /// Quantises a matrix `[out, in]`, whose columns groups of that size divide.
    pub(super) fn quantize(x: &Array, quantization: Quantization) -> Result<Self> {
        let packing = packing(quantization)?;
        let packed = bridge::quantize(&x.inner, &packing, x.device);
        let packed = packed.map_err(|e| failed("quantize", e))?;
        let own = |part| Array::own("quantize", x.device, Ok(part));
        Ok(Self {
            weight: own(packed.weight)?,
            scales: own(packed.scales)?,
            biases: match packed.biases.is_null() {
                true => None,
                false => Some(own(packed.biases)?),
            },
            quantization,
        })
    }

    /// `x @ self.T`, in the precision of `x`.
    pub(super) fn multiplied(&self, x: &Array) -> Result<Array> {
        let product = bridge::quantized_matmul(
            &x.inner,
            &self.weight.inner,
            &self.scales.inner,
            self.biases(&UniquePtr::null()),
            &packing(self.quantization)?,
            x.device,
        );
        Array::own("quantized_matmul", x.device, product)?.astype(x.element_type()?)
    }

    /// Rows as numbers: `(rows, in)`.
    pub(super) fn take_rows(&self, rows: &[u32], compute: ElementType) -> Result<Array> {
        let take = |part: &Array| part.take_rows(rows, &[rows.len()]);
        let taken = Self {
            weight: take(&self.weight)?,
            scales: take(&self.scales)?,
            biases: self.biases.as_ref().map(take).transpose()?,
            quantization: self.quantization,
        };
        taken.dequantized(compute)
    }

    fn dequantized(&self, compute: ElementType) -> Result<Array> {
        let device = self.weight.device;
        let values = bridge::dequantize(
            &self.weight.inner,
            &self.scales.inner,
            self.biases(&UniquePtr::null()),
            &packing(self.quantization)?,
            compute,
            device,
        );
        Array::own("dequantize", device, values)
    }

    fn biases<'a>(&'a self, none: &'a UniquePtr<MxArray>) -> &'a UniquePtr<MxArray> {
        self.biases.as_ref().map_or(none, |biases| &biases.inner)
    }
}

fn packing(quantization: Quantization) -> Result<Packing<'static>> {
    let number = |n: usize| i32::try_from(n).map_err(|e| failed("quantize", e));
    Ok(Packing {
        mode: quantization.mode().name(),
        bits: number(quantization.bits())?,
        group_size: number(quantization.group_size())?,
    })
}
