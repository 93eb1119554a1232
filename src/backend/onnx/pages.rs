//! The memory that weights take: in large pages, where the system gives them when asked, since a load
//! spends most of its time on taking pages and there are 512 times fewer of these; and given back.

use std::fmt::Debug;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::slice;

use memmap2::MmapMut;
use ort::AsPointer;
use ort::memory::Allocator;
use ort::value::{DynTensor, PrimitiveTensorElementType, Shape, Tensor};

/// Memory of zeros for many arrays in one piece. Large pages begin at multiples of their size: an array
/// that is allocated by itself has small ones up to the first and after the last, which of a matrix of
/// a few megabytes is much of it.
pub(super) fn block(len: usize) -> io::Result<MmapMut> {
    let mut block = MmapMut::map_anon(len)?;
    ask_for(&mut block);
    Ok(block)
}

/// An array of zeros in ONNX Runtime's own memory. `Tensor::new` writes the zeros before anybody can
/// ask for large pages.
#[allow(
    unsafe_code,
    reason = "a call of ONNX Runtime, and memory that it has allocated"
)]
pub(super) fn array<T: PrimitiveTensorElementType + Debug>(
    shape: impl Into<Shape>,
) -> ort::Result<Tensor<T>> {
    let (element, shape) = (T::into_tensor_element_type(), shape.into());
    let bytes = element.byte_size(shape.num_elements());
    let bytes = bytes.ok_or_else(|| ort::Error::new("its elements have no size"))?;
    let allocator = Allocator::default();
    let mut value = ptr::null_mut();
    // SAFETY: every pointer is of something that outlives the call, and `shape` is as long as told.
    let made = unsafe {
        ort::Error::result_from_status((ort::api().CreateTensorAsOrtValue)(
            allocator.ptr().cast_mut(),
            shape.as_ptr(),
            shape.len(),
            element.into(),
            &mut value,
        ))
    };
    // SAFETY: a tensor that has just been made, or none, and nobody else owns it.
    let mut array = unsafe { made_by(made, value, &allocator) }?;
    if bytes > 0 {
        let begin = array.data_ptr_mut().cast::<MaybeUninit<u8>>();
        // SAFETY: the array's own memory, which nothing else refers to.
        let memory = unsafe { slice::from_raw_parts_mut(begin, bytes) };
        ask_for(memory);
        memory.fill(MaybeUninit::zeroed());
    }
    array.into_dyn().downcast()
}

/// The array that a call of ONNX Runtime has made, if it has.
///
/// # Safety
/// After a success `value` is null or a tensor that nobody else owns.
#[allow(unsafe_code, reason = "a value of ONNX Runtime")]
pub(super) unsafe fn made_by(
    call: ort::Result<()>,
    value: *mut ort::sys::OrtValue,
    allocator: &Allocator,
) -> ort::Result<DynTensor> {
    call?;
    let value = NonNull::new(value).ok_or_else(|| ort::Error::new("no array was made"))?;
    // SAFETY: as the caller promises.
    Ok(unsafe { DynTensor::from_ptr(value, Some(allocator)) })
}

/// Asks for large pages behind memory that has not been touched yet. Nobody need answer: it is
/// advice.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "advice on memory")]
fn ask_for<T>(memory: &mut [T]) {
    /// A multiple of every size of a small page: ranges must begin with one.
    const PAGE: usize = 1 << 16;

    let range = memory.as_mut_ptr_range();
    let begin = (range.start as usize).next_multiple_of(PAGE);
    let end = range.end as usize / PAGE * PAGE;
    if begin < end {
        // SAFETY: the range lies within `memory`, and MADV_HUGEPAGE changes no byte of it
        // (madvise(2): it enables transparent huge pages for the range).
        unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for<T>(_: &mut [T]) {}

/// Gives the system what a load has freed. glibc would keep it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a call of the allocator")]
pub(super) fn give_back() {
    // SAFETY: malloc_trim(3) touches no memory that is allocated, and may be called by any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}
