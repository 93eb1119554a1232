//! The operations of a transformer, each of them one kernel on a GPU.

use cxx::UniquePtr;

use super::array::{Array, failed};
use super::ffi::bridge;
use crate::error::Result;

impl Array {
    /// RMS normalisation over the last dimension, scaled by `weight`.
    pub(super) fn rms_norm(&self, weight: &Self, eps: f32) -> Result<Self> {
        let normed = bridge::rms_norm(&self.inner, &weight.inner, eps, self.device);
        Self::own("rms_norm", self.device, normed)
    }

    /// As [`rms_norm`](Self::rms_norm), not scaled.
    pub(super) fn rms_norm_unscaled(&self, eps: f32) -> Result<Self> {
        let normed = bridge::rms_norm(&self.inner, &UniquePtr::null(), eps, self.device);
        Self::own("rms_norm", self.device, normed)
    }

    /// Rotary position embedding of `(B, H, L, D)`, half-split, the first row at `offset`.
    pub(super) fn rope(&self, base: f32, offset: usize) -> Result<Self> {
        let dims = self.rope_dims()?;
        let offset = i32::try_from(offset).map_err(|e| failed("rope", e))?;
        let rotated = bridge::rope(&self.inner, dims, base, offset, self.device);
        Self::own("rope", self.device, rotated)
    }

    /// As [`rope`](Self::rope), the first row of each sequence at an offset of its own.
    pub(super) fn rope_from(&self, base: f32, offsets: &[u32]) -> Result<Self> {
        let dims = self.rope_dims()?;
        let offsets = Self::from_u32(offsets, &[offsets.len()], self.device)?;
        let rotated = bridge::rope_from(&self.inner, dims, base, &offsets.inner, self.device);
        Self::own("rope", self.device, rotated)
    }

    fn rope_dims(&self) -> Result<i32> {
        self.rank("rope", 4)?;
        i32::try_from(self.shape()[3]).map_err(|e| failed("rope", e))
    }

    /// Attention of queries `(B, H, L, D)` over `(B, KV, S, D)`, `H` a multiple of `KV`: over all
    /// keys, or those for which `mask`, which broadcasts to `(B, H, L, S)`, holds true.
    pub(super) fn attention(
        &self,
        keys: &Self,
        values: &Self,
        scale: f32,
        mask: Option<&Self>,
    ) -> Result<Self> {
        self.rank("attention", 4)?;
        let none = UniquePtr::null();
        let mask = mask.map_or(&none, |mask| &mask.inner);
        let (keys, values) = (&keys.inner, &values.inner);
        let attended = bridge::attention(&self.inner, keys, values, scale, mask, self.device);
        Self::own("attention", self.device, attended)
    }

    /// As [`attention`](Self::attention), the last query over all keys, each one before it over one
    /// key less.
    pub(super) fn causal_attention(&self, keys: &Self, values: &Self, scale: f32) -> Result<Self> {
        self.rank("causal_attention", 4)?;
        let (keys, values) = (&keys.inner, &values.inner);
        let attended = bridge::causal_attention(&self.inner, keys, values, scale, self.device);
        Self::own("causal_attention", self.device, attended)
    }
}
