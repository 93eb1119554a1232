//! Checkpoint tensors into arrays of ONNX Runtime's own, converted window by window.

use std::fmt::Debug;

use half::f16;
use ort::memory::Allocator;
use ort::value::{PrimitiveTensorElementType, Tensor as Array};

use super::failed;
use crate::checkpoint::Checkpoint;
use crate::dtype::Dtype;
use crate::error::Result;

/// Loads tensors of one checkpoint. Beside the arrays themselves, loading holds one window of a
/// tensor.
pub(super) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// Of matrices; vectors are always f32.
    pub(super) precision: Dtype,
    /// Of all arrays.
    bytes: usize,
}

impl<'a> Weights<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint, precision: Dtype) -> Self {
        Self {
            checkpoint,
            precision,
            bytes: 0,
        }
    }

    /// Bytes of all arrays loaded so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A tensor, laid out as in the file.
    pub(super) fn get(&mut self, key: &str) -> Result<Array<f32>> {
        self.load(key, |value| value)
    }

    /// As [`get`](Self::get), rounded to f16; what is too large for it becomes infinite, and with
    /// it every vector, which is found out.
    pub(super) fn get_half(&mut self, key: &str) -> Result<Array<f16>> {
        self.load(key, f16::from_f32)
    }

    fn load<T: PrimitiveTensorElementType + Debug>(
        &mut self,
        key: &str,
        convert: impl Fn(f32) -> T,
    ) -> Result<Array<T>> {
        let tensor = self.checkpoint.tensor(key)?;
        self.bytes += tensor.shape().iter().product::<usize>() * size_of::<T>();
        let allocator = Allocator::default();
        let array = Array::new(&allocator, tensor.shape());
        let mut array = array.map_err(|error| failed("allocate", error))?;
        let (_, out) = array.extract_tensor_mut();
        let mut places = out.iter_mut();
        tensor.for_each_window(|window| {
            tensor.dtype().decode(window, |value| {
                if let Some(place) = places.next() {
                    *place = convert(value);
                }
            });
            Ok(())
        })?;
        Ok(array)
    }
}
