//! Checkpoint tensors as arrays of ONNX Runtime: matrices in the precision that runs, vectors in
//! f32.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use half::f16;
use ort::memory::Allocator;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor as Array};

use super::failed;
use super::int8::Quantized;
use super::ops::Stored;
use super::side_by_side;
use crate::checkpoint::{self, Checkpoint};
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// A weight as a graph reads it.
pub(super) enum Weight {
    /// Laid out as in the checkpoint.
    F32(Stored),
    /// As [`F32`](Self::F32).
    F16(Stored),
    /// A linear layer, `(in, out)`.
    Int8(Quantized<i8>),
    /// The embedding table.
    Int16(Quantized<i16>),
}

/// Gives a graph its weights, by their keys in the checkpoint.
pub(super) trait Weights {
    /// One weight; those that its session owns are given once.
    fn take(&mut self, key: &str) -> Result<Weight>;
}

/// The weights of one model as the checkpoint has them, or rounded to f16.
pub(super) struct FloatWeights {
    precision: Dtype,
    bytes: usize,
    source: Source,
}

enum Source {
    /// Arrays by their keys in the checkpoint. All of a model's sessions read these.
    Shared(BTreeMap<String, (Arc<DynValue>, Dtype)>),
    /// Read for the one session that takes them.
    Own(Checkpoint),
}

impl FloatWeights {
    /// Loads every tensor, several at once. Beside the arrays themselves, loading holds one window
    /// of each of these.
    pub(super) fn shared(checkpoint: &Checkpoint, precision: Dtype) -> Result<Self> {
        let _span = tracing::debug_span!("convert").entered();
        let weights = checkpoint.weights().map(|key| {
            let weight = checkpoint.weight(key)?;
            Ok((key, weight))
        });
        let mut weights = weights.collect::<Result<Vec<_>>>()?;
        weights.sort_by_key(|(_, weight)| Reverse(weight.elements()));
        let arrays = side_by_side::each(&weights, |(key, weight)| {
            let dtype = stored_as(weight, precision);
            let array = match dtype {
                Dtype::F16 => outside(weight, f16::from_f32)?,
                _ => outside(weight, |value| value)?,
            };
            Ok::<_, Error>(((*key).to_owned(), (Arc::new(array), dtype)))
        })?;
        Ok(Self {
            precision,
            bytes: bytes(checkpoint, precision)?,
            source: Source::Shared(arrays.into_iter().collect()),
        })
    }

    /// Loads each tensor when a graph asks for it, and leaves it to that graph's session.
    pub(super) fn own(checkpoint: &Checkpoint, precision: Dtype) -> Result<Self> {
        Ok(Self {
            precision,
            bytes: bytes(checkpoint, precision)?,
            source: Source::Own(checkpoint.clone()),
        })
    }

    /// Bytes of all arrays.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Weights for FloatWeights {
    fn take(&mut self, key: &str) -> Result<Weight> {
        (&*self).take(key)
    }
}

impl Weights for &FloatWeights {
    /// What is too large for f16 becomes infinite, and with it every vector, which is found out.
    fn take(&mut self, key: &str) -> Result<Weight> {
        let (array, dtype) = match &self.source {
            Source::Shared(arrays) => {
                let array = arrays.get(key).cloned();
                let (array, dtype) =
                    array.ok_or_else(|| failed("weights", format!("no tensor {key}")))?;
                (Stored::Input(array), dtype)
            }
            Source::Own(checkpoint) => {
                let _span = tracing::debug_span!("convert").entered();
                let weight = checkpoint.weight(key)?;
                let dtype = stored_as(&weight, self.precision);
                let array = match dtype {
                    Dtype::F16 => inside(&weight, f16::from_f32)?.upcast(),
                    _ => inside(&weight, |value| value)?.upcast(),
                };
                (Stored::Initializer(array), dtype)
            }
        };
        Ok(match dtype {
            Dtype::F16 => Weight::F16(array),
            _ => Weight::F32(array),
        })
    }
}

/// Vectors are always f32.
fn stored_as(weight: &checkpoint::Weight<'_>, precision: Dtype) -> Dtype {
    match weight.shape().len() {
        2 => precision,
        _ => Dtype::F32,
    }
}

fn bytes(checkpoint: &Checkpoint, precision: Dtype) -> Result<usize> {
    let weights = checkpoint.weights().map(|key| checkpoint.weight(key));
    let sizes = weights.map(|weight| {
        let weight = weight?;
        Ok(weight.elements() * stored_as(&weight, precision).size())
    });
    sizes.sum()
}

/// The array's memory is Rust's: ONNX Runtime shares no other between sessions.
fn outside<T: PrimitiveTensorElementType + Debug + Clone + 'static>(
    weight: &checkpoint::Weight<'_>,
    convert: impl Fn(f32) -> T,
) -> Result<DynValue> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(weight.elements());
    reserved.map_err(|error| failed("allocate", error))?;
    weight.for_each(|value| values.push(convert(value)))?;
    let array = Array::from_array((weight.shape(), values));
    Ok(array.map_err(|error| failed("weights", error))?.into_dyn())
}

/// The array's memory is ONNX Runtime's, as that of initializers must be.
fn inside<T: PrimitiveTensorElementType + Debug>(
    weight: &checkpoint::Weight<'_>,
    convert: impl Fn(f32) -> T,
) -> Result<Array<T>> {
    let array = Array::new(&Allocator::default(), weight.shape());
    let mut array = array.map_err(|error| failed("allocate", error))?;
    let (_, out) = array.extract_tensor_mut();
    let mut places = out.iter_mut();
    weight.for_each(|value| {
        if let Some(place) = places.next() {
            *place = convert(value);
        }
    })?;
    Ok(array)
}
