//! A safe array over the bridge: neither `Send` nor `Sync`, shapes checked before C++ sees them.
//!
//! Operations are lazy; [`Array::eval`] and those that read elements run them. After any error the
//! state of the library is undefined (a failed array evaluates to garbage the second time), so
//! the owner drops everything and loads anew.

use bytemuck::{Pod, try_cast_slice_mut};
use cxx::UniquePtr;

use super::ffi::bridge::{self, DeviceKind, ElementType, MxArray};
use super::op_trace;
use crate::backend::side_by_side;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// The backend's name in errors.
pub(super) const MLX: &str = "MLX";

/// A lazy array on one device.
pub(super) struct Array {
    pub(super) inner: UniquePtr<MxArray>,
    pub(super) device: DeviceKind,
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
pub(super) fn to_mlx(op: &str, sizes: &[usize]) -> Result<Vec<i32>> {
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
    pub(super) fn own(
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

    /// A row-major array of yes and no.
    pub(super) fn from_bools(
        values: impl Iterator<Item = bool>,
        shape: &[usize],
        device: DeviceKind,
    ) -> Result<Self> {
        let bytes: Vec<u8> = values.map(u8::from).collect();
        Self::build(shape, ElementType::Bool, device, |writer| {
            writer.write(&bytes)
        })
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

    pub(super) fn rank(&self, op: &str, rank: usize) -> Result<()> {
        if self.shape.len() == rank {
            return Ok(());
        }
        Err(failed(
            op,
            format!("expected {rank} dimensions, found shape {:?}", self.shape),
        ))
    }

    /// Runs everything that this array depends on.
    pub(super) fn eval(&self) -> Result<()> {
        bridge::eval(&self.inner).map_err(|e| failed("eval", e))
    }

    /// Hands the device everything that this array depends on, and does not wait for it.
    pub(super) fn begin(&self) -> Result<()> {
        bridge::async_eval(&self.inner).map_err(|e| failed("async_eval", e))
    }

    /// The same elements, computed now. What an array was cut from keeps its memory otherwise.
    pub(super) fn copied(&self) -> Result<Self> {
        let bytes = self.to_bytes()?;
        Self::build(&self.shape, self.element_type()?, self.device, |writer| {
            writer.write(&bytes)
        })
    }

    /// The elements in row-major order, as they are held.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        self.contiguous()?.read()
    }

    /// The elements of an array that is row-major already: nothing but the array is computed for
    /// them, so what was begun after it is not waited for.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        self.eval()?;
        let elements: usize = self.shape.iter().product();
        let mut bytes = vec![0; elements * size_of_element(self.element_type()?)];
        bridge::read(&self.inner, &mut bytes).map_err(|e| failed("read", e))?;
        Ok(bytes)
    }
}

/// Bytes of one element.
pub(super) fn size_of_element(element_type: ElementType) -> usize {
    match element_type {
        ElementType::U8 | ElementType::Bool => 1,
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
    /// The next bytes, in the machine's byte order. Many are copied by several threads.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let place = self.take(bytes.len())?;
        side_by_side::copy(bytes, 1, place, |to, from| to.copy_from_slice(from));
        Ok(())
    }

    /// The next elements, which `bytes` are in little-endian `from`, each as `convert` makes it.
    pub(super) fn convert<T: Pod + Send>(
        &mut self,
        bytes: &[u8],
        from: Dtype,
        convert: impl Fn(f32) -> T + Sync,
    ) -> Result<()> {
        let elements = bytes.len() / from.size();
        let place = self.take(elements * size_of::<T>())?;
        let place = try_cast_slice_mut(place).map_err(|e| failed("write", e))?;
        side_by_side::copy(bytes, from.size(), place, |to, bytes| {
            from.fill(bytes, to, &convert);
        });
        Ok(())
    }

    /// The next `len` bytes of the array.
    fn take(&mut self, len: usize) -> Result<&mut [u8]> {
        let begin = self.offset;
        let left = self.memory()?.len() - begin;
        if len > left {
            return Err(failed("write", format!("{len} bytes, and room for {left}")));
        }
        self.offset += len;
        Ok(&mut self.memory()?[begin..][..len])
    }

    /// All bytes of the array.
    fn memory(&mut self) -> Result<&mut [u8]> {
        bridge::bytes(self.array.inner.pin_mut()).map_err(|e| failed("write", e))
    }
}
