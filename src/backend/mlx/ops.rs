//! General operations on arrays; each gives a new lazy one.

use super::array::{Array, failed, to_mlx};
use super::ffi::bridge::{self, ElementType};
use crate::error::Result;

impl Array {
    pub(super) fn add(&self, other: &Self) -> Result<Self> {
        let sum = bridge::add(&self.inner, &other.inner, self.device);
        Self::own("add", self.device, sum)
    }

    /// `self + a @ b`, for a matrix `b`.
    pub(super) fn addmm(&self, a: &Self, b: &Self) -> Result<Self> {
        let sum = bridge::addmm(&self.inner, &a.inner, &b.inner, self.device);
        Self::own("addmm", self.device, sum)
    }

    /// The same array where it has that type already.
    pub(super) fn astype(&self, element_type: ElementType) -> Result<Self> {
        let cast = bridge::astype(&self.inner, element_type, self.device);
        Self::own("astype", self.device, cast)
    }

    pub(super) fn broadcast_to(&self, shape: &[usize]) -> Result<Self> {
        let sizes = to_mlx("broadcast_to", shape)?;
        let repeated = bridge::broadcast_to(&self.inner, &sizes, self.device);
        Self::own("broadcast_to", self.device, repeated)
    }

    /// This array, then `other`, along dimension `axis`.
    pub(super) fn concatenate(&self, other: &Self, axis: usize) -> Result<Self> {
        let axis = i32::try_from(axis).map_err(|e| failed("concatenate", e))?;
        let joined = bridge::concatenate(&self.inner, &other.inner, axis, self.device);
        Self::own("concatenate", self.device, joined)
    }

    /// A copy in row-major order, unless it is one.
    pub(super) fn contiguous(&self) -> Result<Self> {
        let dense = bridge::contiguous(&self.inner, self.device);
        Self::own("contiguous", self.device, dense)
    }

    pub(super) fn matmul(&self, other: &Self) -> Result<Self> {
        let product = bridge::matmul(&self.inner, &other.inner, self.device);
        Self::own("matmul", self.device, product)
    }

    pub(super) fn multiply(&self, other: &Self) -> Result<Self> {
        let product = bridge::multiply(&self.inner, &other.inner, self.device);
        Self::own("multiply", self.device, product)
    }

    pub(super) fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let sizes = to_mlx("reshape", shape)?;
        let reshaped = bridge::reshape(&self.inner, &sizes, self.device);
        Self::own("reshape", self.device, reshaped)
    }

    /// Elements `start..stop` of dimension `axis`.
    pub(super) fn slice(&self, axis: usize, start: usize, stop: usize) -> Result<Self> {
        let size = self.shape().get(axis).copied().unwrap_or(0);
        if start > stop || stop > size {
            let message = format!("{start}..{stop} of axis {axis} in shape {:?}", self.shape());
            return Err(failed("slice", message));
        }
        let mut from = vec![0; self.shape().len()];
        let mut to = to_mlx("slice", self.shape())?;
        from[axis] = i32::try_from(start).map_err(|e| failed("slice", e))?;
        to[axis] = i32::try_from(stop).map_err(|e| failed("slice", e))?;
        let sliced = bridge::slice(&self.inner, &from, &to, self.device);
        Self::own("slice", self.device, sliced)
    }

    /// `silu(self) * up`, one kernel on a GPU.
    pub(super) fn swiglu(&self, up: &Self) -> Result<Self> {
        let product = bridge::swiglu(&self.inner, &up.inner, self.device);
        Self::own("swiglu", self.device, product)
    }

    /// Rows of a matrix: `[R, C] -> shape + [C]`. MLX does not check indices, so this does.
    pub(super) fn take_rows(&self, indices: &[u32], shape: &[usize]) -> Result<Self> {
        self.rank("take", 2)?;
        let rows = self.shape()[0];
        if let Some(index) = indices.iter().find(|&&i| i as usize >= rows) {
            return Err(failed("take", format!("index {index} of {rows} rows")));
        }
        let indices = Self::from_u32(indices, shape, self.device)?;
        let taken = bridge::take(&self.inner, &indices.inner, 0, self.device);
        Self::own("take", self.device, taken)
    }

    pub(super) fn transpose(&self, axes: &[usize]) -> Result<Self> {
        let axes = to_mlx("transpose", axes)?;
        let transposed = bridge::transpose(&self.inner, &axes, self.device);
        Self::own("transpose", self.device, transposed)
    }
}
