//! Arrays that a session is given for good: in ONNX Runtime's own memory, or a part of a mapped file.

use std::fmt::Debug;
use std::ptr;
use std::sync::Arc;

use memmap2::Mmap;
use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::{DynTensor, PrimitiveTensorElementType, Shape, Tensor, TensorElementType};

use super::pages;

/// Where arrays begin in a mapped file: at a multiple of this many bytes.
pub(super) const ALIGNMENT: usize = 64;

/// An array and, if it is not ONNX Runtime's, its memory.
pub(super) struct Initializer {
    array: DynTensor,
    file: Option<Arc<Mmap>>, // dropped after the array
}

impl<T: PrimitiveTensorElementType + Debug> From<Tensor<T>> for Initializer {
    fn from(array: Tensor<T>) -> Self {
        Self {
            array: array.upcast(),
            file: None,
        }
    }
}

impl Initializer {
    /// The array whose bytes begin at `begin` in the file.
    ///
    /// # Errors
    /// The file does not hold it there, or ONNX Runtime's own.
    #[allow(
        unsafe_code,
        reason = "an array of ONNX Runtime over memory that is not its own"
    )]
    pub(super) fn mapped(
        file: &Arc<Mmap>,
        begin: usize,
        element: TensorElementType,
        shape: impl Into<Shape>,
    ) -> ort::Result<Self> {
        let shape = shape.into();
        let len = element
            .byte_size(shape.num_elements())
            .unwrap_or(usize::MAX);
        let bytes = begin.checked_add(len).and_then(|end| file.get(begin..end));
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
        // they belong to. ONNX Runtime only reads initializers, so that the mapping may be read-only;
        // it is aligned, and lives as long as the array, see `into_parts`.
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
            file: Some(Arc::clone(file)),
        })
    }

    /// A copy in ONNX Runtime's own memory.
    pub(super) fn try_clone(&self) -> ort::Result<Self> {
        Ok(Self {
            array: pages::copy(self.bytes(), self.element(), self.shape())?,
            file: None,
        })
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

    /// The array, and what must live as long as it does.
    pub(super) fn into_parts(self) -> (DynTensor, Option<Arc<Mmap>>) {
        (self.array, self.file)
    }
}
