//! A safe array over the bridge: neither `Send` nor `Sync`, shapes checked before C++ sees them.
//!
//! Operations are lazy; [`Array::eval`] and [`Array::to_f32`] run them. After any error the
//! state of the library is undefined (a failed array evaluates to garbage the second time), so
//! the owner drops everything and loads anew.

use cxx::UniquePtr;

use super::ffi::bridge::{self, DeviceKind, ElementType, MxArray};
use super::op_trace;
use crate::error::{Error, Result};

/// The backend's name in errors.
pub(super) const MLX: &str = "MLX";

/// A lazy array on one device.
pub(super) struct Array {
    inner: UniquePtr<MxArray>,
    device: DeviceKind,
    shape: Vec<usize>,
}

/// An error of the operation `op`.
pub(super) fn failed(op: &str, message: impl ToString) -> Error {
    Error::Backend {
        backend: MLX,
        op: op.to_owned(),
        message: message.to_string(),
    }
}

/// `sizes` as MLX addresses them: every size and the number of elements below 2^31.
fn to_mlx(op: &str, sizes: &[usize]) -> Result<Vec<i32>> {
    let elements = sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size));
    if elements.is_none_or(|n| i32::try_from(n).is_err()) {
        return Err(failed(
            op,
            format!("shape {sizes:?} has 2^31 elements or more"),
        ));
    }
    sizes
        .iter()
        .map(|&size| i32::try_from(size).map_err(|e| failed(op, e)))
        .collect()
}

impl Array {
    /// Takes over the result of the operation `op`.
    fn own(
        op: &str,
        device: DeviceKind,
        result: Result<UniquePtr<MxArray>, cxx::Exception>,
    ) -> Result<Self> {
        let inner = result.map_err(|e| failed(op, e))?;
        op_trace::trace(op, &inner)?;
        let shape = bridge::shape(&inner)
            .map_err(|e| failed(op, e))?
            .into_iter()
            .map(|size| usize::try_from(size).map_err(|e| failed(op, e)))
            .collect::<Result<Vec<_>>>()?;
        to_mlx(op, &shape)?;
        Ok(Self {
            inner,
            device,
            shape,
        })
    }

    /// An array of `shape` whose bytes `fill` writes, in order, through the [`Writer`] it is given.
    /// Bytes that it leaves out are an error.
    pub(super) fn build(
        shape: &[usize],
        element_type: ElementType,
        device: DeviceKind,
        fill: impl FnOnce(&mut Writer) -> Result<()>,
    ) -> Result<Self> {
        let sizes = to_mlx("allocate", shape)?;
        let bytes = shape.iter().product::<usize>() * size_of_element(element_type);
        let mut writer = Writer {
            array: Self::own("allocate", device, bridge::allocate(&sizes, element_type))?,
            offset: 0,
        };
        fill(&mut writer)?;
        if writer.offset != bytes {
            return Err(failed(
                "write",
                format!("{} of {bytes} bytes were written", writer.offset),
            ));
        }
        Ok(writer.array)
    }

    /// A row-major array of token ids or positions.
    pub(super) fn from_u32(values: &[u32], shape: &[usize], device: DeviceKind) -> Result<Self> {
        Self::build(shape, ElementType::U32, device, |writer| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
            writer.write(&bytes)
        })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn element_type(&self) -> Result<ElementType> {
        bridge::element_type(&self.inner).map_err(|e| failed("element_type", e))
    }

    fn rank(&self, op: &str, rank: usize) -> Result<()> {
        if self.shape.len() == rank {
            return Ok(());
        }
        Err(failed(
            op,
            format!("expected {rank} dimensions, found shape {:?}", self.shape),
        ))
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self> {
        let sum = bridge::add(&self.inner, &other.inner, self.device);
        Self::own("add", self.device, sum)
    }

    /// The same array where it has that type already.
    pub(super) fn astype(&self, element_type: ElementType) -> Result<Self> {
        let cast = bridge::astype(&self.inner, element_type, self.device);
        Self::own("astype", self.device, cast)
    }

    pub(super) fn matmul(&self, other: &Self) -> Result<Self> {
        let product = bridge::matmul(&self.inner, &other.inner, self.device);
        Self::own("matmul", self.device, product)
    }

    pub(super) fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let sizes = to_mlx("reshape", shape)?;
        let reshaped = bridge::reshape(&self.inner, &sizes, self.device);
        Self::own("reshape", self.device, reshaped)
    }

    /// Elements `start..stop` of dimension `axis`.
    pub(super) fn slice(&self, axis: usize, start: usize, stop: usize) -> Result<Self> {
        let size = self.shape.get(axis).copied().unwrap_or(0);
        if start > stop || stop > size {
            let message = format!("{start}..{stop} of axis {axis} in shape {:?}", self.shape);
            return Err(failed("slice", message));
        }
        let mut from = vec![0; self.shape.len()];
        let mut to = to_mlx("slice", &self.shape)?;
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
        let rows = self.shape[0];
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

    /// RMS normalisation over the last dimension, scaled by `weight`.
    pub(super) fn rms_norm(&self, weight: &Self, eps: f32) -> Result<Self> {
        let normed = bridge::rms_norm(&self.inner, &weight.inner, eps, self.device);
        Self::own("rms_norm", self.device, normed)
    }

    /// Rotary position embedding of `(B, H, L, D)`, half-split, the first row at `offset`.
    pub(super) fn rope(&self, base: f32, offset: usize) -> Result<Self> {
        self.rank("rope", 4)?;
        let dims = i32::try_from(self.shape[3]).map_err(|e| failed("rope", e))?;
        let offset = i32::try_from(offset).map_err(|e| failed("rope", e))?;
        let rotated = bridge::rope(&self.inner, dims, base, offset, self.device);
        Self::own("rope", self.device, rotated)
    }

    /// Causal attention of queries `(B, H, L, D)` over `(B, KV, L, D)`, `H` a multiple of `KV`.
    pub(super) fn causal_attention(&self, keys: &Self, values: &Self, scale: f32) -> Result<Self> {
        self.rank("causal_attention", 4)?;
        let attended =
            bridge::causal_attention(&self.inner, &keys.inner, &values.inner, scale, self.device);
        Self::own("causal_attention", self.device, attended)
    }

    /// Runs everything that this array depends on.
    pub(super) fn eval(&self) -> Result<()> {
        bridge::eval(&self.inner).map_err(|e| failed("eval", e))
    }

    /// The elements in row-major order, as f32.
    pub(super) fn to_f32(&self) -> Result<Vec<f32>> {
        let cast = self.astype(ElementType::F32)?;
        let dense = bridge::contiguous(&cast.inner, self.device);
        let dense = Self::own("contiguous", self.device, dense)?;
        dense.eval()?;
        let mut values = vec![0.0; self.shape.iter().product()];
        bridge::copy_f32(&dense.inner, &mut values).map_err(|e| failed("copy_f32", e))?;
        Ok(values)
    }
}

/// Bytes of one element.
pub(super) fn size_of_element(element_type: ElementType) -> usize {
    match element_type {
        ElementType::F16 | ElementType::Bf16 => 2,
        _ => 4,
    }
}

/// Fills a new array from its first byte to its last.
pub(super) struct Writer {
    array: Array,
    offset: usize,
}

impl Writer {
    /// The next bytes, in the machine's byte order.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        bridge::write(self.array.inner.pin_mut(), self.offset, bytes)
            .map_err(|e| failed("write", e))?;
        self.offset += bytes.len();
        Ok(())
    }
}
