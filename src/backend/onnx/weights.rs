//! Checkpoint tensors as panels of our own operator or as arrays of ONNX Runtime: matrices in the
//! precision that runs, vectors in f32.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::cast_slice_mut;
use half::{bf16, f16};
use kernels::Layout;
use memmap2::Mmap;
use ort::value::{PrimitiveTensorElementType, Tensor, TensorElementType};

use super::array::{ALIGNMENT, StoredArray};
use super::failed;
use super::ops::Stored;
use super::pages;
use super::panels::{self, Panels};
use crate::backend::side_by_side;
use crate::checkpoint::{self, Checkpoint, TABLE};
use crate::dtype::Dtype;
use crate::error::Result;

/// A weight as a graph reads it.
pub(super) enum Weight {
    /// A matrix that an operator of our own multiplies by.
    Panels(Arc<Panels>),
    /// Laid out as in the checkpoint.
    F32(Stored),
    /// As [`F32`](Self::F32).
    F16(Stored),
    /// The embedding table, as the checkpoint has it.
    Bf16(Stored),
    /// The embedding table as integers, and the scale of each row.
    Table([Stored; 2]),
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
    /// By their keys in the checkpoint. All of a model's sessions read these.
    Shared(BTreeMap<String, Shared>),
    /// Read for the one session that takes them.
    Own(Checkpoint),
}

/// A weight in the block that all of a model's sessions read.
enum Shared {
    Array(Arc<StoredArray>, Dtype),
    Panels(Arc<Panels>),
}

impl FloatWeights {
    /// Loads every tensor into one block of memory, several at once. Beside the block, loading holds
    /// one window of each of these.
    pub(super) fn shared(checkpoint: &Checkpoint, precision: Dtype) -> Result<Self> {
        let _span = tracing::debug_span!("convert").entered();
        let parts = checkpoint.weights().map(|key| {
            let weight = checkpoint.weight(key)?;
            let kept = shared_as(key, &weight, precision);
            Ok(Part { key, weight, kept })
        });
        let mut parts = parts.collect::<Result<Vec<_>>>()?;
        parts.sort_by_key(|part| Reverse(part.len()));
        Ok(Self {
            precision,
            bytes: parts.iter().map(Part::len).sum(),
            source: Source::Shared(load(&parts)?),
        })
    }

    /// Loads each tensor when a graph asks for it, and leaves it to that graph's session.
    pub(super) fn own(checkpoint: &Checkpoint, precision: Dtype) -> Result<Self> {
        Ok(Self {
            precision,
            bytes: Self::own_bytes(checkpoint, precision)?,
            source: Source::Own(checkpoint.clone()),
        })
    }

    /// Bytes of what [`shared`](Self::shared) loads.
    pub(super) fn shared_bytes(checkpoint: &Checkpoint, precision: Dtype) -> Result<usize> {
        bytes(checkpoint, |key, weight| {
            shared_as(key, weight, precision).len(weight)
        })
    }

    /// Bytes of what [`own`](Self::own) loads.
    pub(super) fn own_bytes(checkpoint: &Checkpoint, precision: Dtype) -> Result<usize> {
        bytes(checkpoint, |_, weight| {
            weight.elements() * stored_as(weight, precision).size()
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
                let shared = arrays.get(key);
                match shared.ok_or_else(|| failed("weights", format!("no tensor {key}")))? {
                    Shared::Array(array, dtype) => (Stored::Input(Arc::clone(array)), *dtype),
                    Shared::Panels(panels) => return Ok(Weight::Panels(Arc::clone(panels))),
                }
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
            Dtype::Bf16 => Weight::Bf16(array),
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

/// What a weight that all sessions read is kept as.
enum Kept {
    Array(Dtype),
    Panels(Layout),
}

/// Matrices of f32 in panels; of others what [`stored_as`] says, but the embedding table keeps the
/// half type that the checkpoint has it in: of its rows, those of a batch are widened when they are
/// read.
fn shared_as(key: &str, weight: &checkpoint::Weight<'_>, precision: Dtype) -> Kept {
    let dtype = stored_as(weight, precision);
    match (key, weight.tensor.dtype()) {
        (TABLE, half @ (Dtype::F16 | Dtype::Bf16)) if weight.packed.is_none() => Kept::Array(half),
        (TABLE, _) => Kept::Array(dtype),
        _ => match panels::layout(weight) {
            Some(layout) if dtype == Dtype::F32 => Kept::Panels(layout),
            _ => Kept::Array(dtype),
        },
    }
}

impl Kept {
    /// Bytes of the weight.
    fn len(&self, weight: &checkpoint::Weight<'_>) -> usize {
        match self {
            Self::Array(dtype) => weight.elements() * dtype.size(),
            Self::Panels(layout) => layout.len(),
        }
    }
}

fn bytes(
    checkpoint: &Checkpoint,
    len: impl Fn(&str, &checkpoint::Weight<'_>) -> usize,
) -> Result<usize> {
    let keys = checkpoint.weights();
    let sizes = keys.map(|key| Ok(len(key, &checkpoint.weight(key)?)));
    sizes.sum()
}

/// A weight that all sessions read.
struct Part<'a> {
    key: &'a str,
    weight: checkpoint::Weight<'a>,
    kept: Kept,
}

impl Part<'_> {
    /// Its bytes.
    fn len(&self) -> usize {
        self.kept.len(&self.weight)
    }

    /// Bytes that it takes in a block.
    fn room(&self) -> usize {
        self.len().next_multiple_of(ALIGNMENT)
    }

    /// Writes it to memory of zeros that begins at a multiple of [`ALIGNMENT`].
    fn fill(&self, memory: &mut [u8]) -> Result<()> {
        match &self.kept {
            Kept::Array(Dtype::F16) => self.weight.fill(cast_slice_mut(memory), f16::from_f32),
            Kept::Array(Dtype::Bf16) => self.weight.fill(cast_slice_mut(memory), bf16::from_f32),
            Kept::Array(_) => self.weight.fill(cast_slice_mut(memory), |value| value),
            Kept::Panels(layout) => panels::fill(layout, &self.weight, memory),
        }
    }

    /// What sessions read, of the block that it was written to.
    fn shared(&self, block: &Arc<Mmap>, begin: usize) -> Result<Shared> {
        let dtype = match &self.kept {
            Kept::Array(dtype) => *dtype,
            Kept::Panels(layout) => {
                return Ok(Shared::Panels(Arc::new(Panels::new(
                    *layout, block, begin,
                )?)));
            }
        };
        let element = match dtype {
            Dtype::F16 => TensorElementType::Float16,
            Dtype::Bf16 => TensorElementType::Bfloat16,
            _ => TensorElementType::Float32,
        };
        let array = StoredArray::mapped(block, begin, element, self.weight.shape());
        let array = array.map_err(|error| failed("weights", error))?;
        Ok(Shared::Array(Arc::new(array), dtype))
    }
}

/// All parts, by their keys. Their memory is no session's: ONNX Runtime shares no other.
fn load(parts: &[Part<'_>]) -> Result<BTreeMap<String, Shared>> {
    let block = pages::block(parts.iter().map(Part::room).sum());
    let mut block = block.map_err(|error| failed("allocate", error))?;
    let mut rest = &mut *block;
    let places = parts.iter().map(|part| {
        let (place, after) = mem::take(&mut rest).split_at_mut(part.room());
        rest = after;
        (part, Mutex::new(&mut place[..part.len()]))
    });
    let places: Vec<_> = places.collect();
    side_by_side::each(&places, |(part, place)| {
        part.fill(&mut place.lock().unwrap_or_else(PoisonError::into_inner))
    })?;
    let block = block.make_read_only();
    let block = Arc::new(block.map_err(|error| failed("allocate", error))?);
    let mut begin = 0;
    let shared = parts.iter().map(|part| {
        let shared = part.shared(&block, begin)?;
        begin += part.room();
        Ok((part.key.to_owned(), shared))
    });
    shared.collect()
}

/// The array's memory is ONNX Runtime's, as that of initializers must be.
fn inside<T: PrimitiveTensorElementType + Debug>(
    weight: &checkpoint::Weight<'_>,
    convert: impl Fn(f32) -> T,
) -> Result<Tensor<T>> {
    let array = pages::array(weight.shape());
    let mut array = array.map_err(|error| failed("allocate", error))?;
    weight.fill(array.extract_tensor_mut().1, convert)?;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn matrices_keep_their_half_type_unless_a_session_owns_them() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
        let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
        let checkpoint = Checkpoint::open(&dir, &config).unwrap();
        super::super::library::load(None).unwrap();
        let shared = FloatWeights::shared(&checkpoint, Dtype::F32).unwrap();
        let mut weights = &shared;
        assert!(matches!(weights.take(TABLE).unwrap(), Weight::Bf16(_)));
        let linear = weights.take("layers.0.mlp.up_proj.weight").unwrap();
        assert!(matches!(linear, Weight::Panels(_)));
        let norm = weights.take("norm.weight").unwrap();
        assert!(matches!(norm, Weight::F32(_)));
        let elements = checkpoint.elements() as usize;
        let vectors = checkpoint
            .weights()
            .map(|key| checkpoint.weight(key).unwrap().shape());
        let vectors = vectors.filter_map(|shape| (shape.len() == 1).then(|| shape[0]));
        assert_eq!(shared.bytes(), 2 * elements + 2 * vectors.sum::<usize>());
        // A session of another device may have no kernel for it.
        let own = FloatWeights::own(&checkpoint, Dtype::F32).unwrap();
        assert_eq!(own.bytes(), 4 * elements);
    }
}
