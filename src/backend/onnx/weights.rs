//! Checkpoint tensors into arrays of ONNX Runtime's own, in f32, converted window by window.

use ort::memory::Allocator;
use ort::value::Tensor as Array;

use super::failed;
use crate::checkpoint::Checkpoint;
use crate::error::Result;

/// Loads tensors of one checkpoint. Beside the arrays themselves, loading holds one window of a
/// tensor.
pub(super) struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// Elements of all arrays.
    elements: usize,
}

impl<'a> Weights<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint) -> Self {
        Self {
            checkpoint,
            elements: 0,
        }
    }

    /// Bytes of all arrays loaded so far.
    pub(super) fn bytes(&self) -> usize {
        self.elements * size_of::<f32>()
    }

    /// A tensor, laid out as in the file.
    pub(super) fn get(&mut self, key: &str) -> Result<Array<f32>> {
        let tensor = self.checkpoint.tensor(key)?;
        self.elements += tensor.shape().iter().product::<usize>();
        let allocator = Allocator::default();
        let array = Array::new(&allocator, tensor.shape());
        let mut array = array.map_err(|error| failed("allocate", error))?;
        let (_, out) = array.extract_tensor_mut();
        let mut places = out.iter_mut();
        tensor.for_each_window(|window| {
            tensor.dtype().decode(window, |value| {
                if let Some(place) = places.next() {
                    *place = value;
                }
            });
            Ok(())
        })?;
        Ok(array)
    }
}
