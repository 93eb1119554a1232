//! Arrays that outlive a run: in ONNX Runtime's own memory, or a part of a mapping.

use std::fmt::Debug;
use std::ptr;
use std::sync::Arc;

use memmap2::Mmap;
use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{DynTensor, PrimitiveTensorElementType, Shape, Tensor, TensorElementType};

use super::pages;

/// Where arrays begin in a mapping: at a multiple of this many bytes.
pub(super) const ALIGNMENT: usize = 64;

/// An array and, if it is not ONNX Runtime's, its memory.
pub(super) struct StoredArray {
    array: DynTensor,
    _mapping: Option<Arc<Mmap>>, // dropped after the array
}

impl<T: PrimitiveTensorElementType + Debug> From<Tensor<T>> for StoredArray {
    fn from(array: Tensor<T>) -> Self {
        Self {
            array: array.upcast(),
            _mapping: None,
        }
    }
}

impl StoredArray {
    /// The array whose bytes begin at `begin` in the mapping.
    ///
    /// # Errors
    /// The mapping does not hold it there, or ONNX Runtime's own.
    #[allow(
        unsafe_code,
        reason = "an array of ONNX Runtime over memory that is not its own"
    )]
    pub(super) fn mapped(
        mapping: &Arc<Mmap>,
        begin: usize,
        element: TensorElementType,
        shape: impl Into<Shape>,
    ) -> ort::Result<Self> {
        let shape = shape.into();
        let len = element
            .byte_size(shape.num_elements())
            .unwrap_or(usize::MAX);
        let bytes = begin
            .checked_add(len)
            .and_then(|end| mapping.get(begin..end));
        let bytes = bytes.filter(|_| begin.is_multiple_of(ALIGNMENT));
        let bytes = bytes.ok_or_else(|| ort::Error::new("no array begins there"))?;
        let memory = MemoryInfo::new(
            AllocationDevice::CPU,
            0,
            AllocatorType::Device,
            MemoryType::CPUOutput,
        )?;
        let mut value = ptr::null_mut();
        // SAFETY: every pointer is of something that outlives the call, and lengths are those of what
        // they belong to. ONNX Runtime only reads initializers and inputs, so that the mapping may be
        // read-only; it is aligned, and lives as long as the array.
        let made = unsafe {
            ort::Error::result_from_status((ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                bytes.as_ptr().cast_mut().cast(),
                len,
                shape.as_ptr(),
                shape.len(),
                element.into(),
                &mut value,
            ))
        };
        Ok(Self {
            // SAFETY: a tensor that has just been made, or none, and nobody else owns it.
            array: unsafe { pages::made_by(made, value, &Allocator::default()) }?,
            _mapping: Some(Arc::clone(mapping)),
        })
    }

    /// As a session is given it in a run.
    pub(super) fn as_tensor(&self) -> &DynTensor {
        &self.array
    }

    pub(super) fn element(&self) -> TensorElementType {
        *self.array.data_type()
    }

    pub(super) fn shape(&self) -> &Shape {
        self.array.shape()
    }

    /// Its elements in this machine's order.
    #[allow(unsafe_code, reason = "the memory of an array")]
    pub(super) fn bytes(&self) -> &[u8] {
        match self.element().byte_size(self.shape().num_elements()) {
            // It need not have memory.
            None | Some(0) => &[],
            // SAFETY: an array of primitives on the processor, all of whose bytes are initialised,
            // and which nobody changes while it is borrowed.
            Some(len) => unsafe { std::slice::from_raw_parts(self.array.data_ptr().cast(), len) },
        }
    }
}
