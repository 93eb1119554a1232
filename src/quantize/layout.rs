//! Where each tensor of a quantised checkpoint lies in its safetensors file.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{QuantizationMode, option_error};
use crate::checkpoint::{Checkpoint, Tensor};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::quantization::Quantization;

/// A tensor of those that make a matrix; a weight that is not quantised is one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Weight,
    Scales,
    Biases,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Weight, Self::Scales, Self::Biases];

    fn name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Scales => "scales",
            Self::Biases => "biases",
        }
    }
}

/// The file but for the tensors' bytes.
pub(super) struct Layout {
    header: Vec<u8>,
    /// First byte in the file, by the weight's key.
    places: BTreeMap<(String, Part), u64>,
}

struct Planned {
    key: String,
    part: Part,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Layout {
    pub(super) fn of(checkpoint: &Checkpoint, quantization: Quantization) -> Result<Self> {
        let mut planned = Vec::new();
        for key in checkpoint.weights() {
            plan(key, &checkpoint.tensor(key)?, quantization, &mut planned);
        }
        if planned.iter().all(|tensor| tensor.part == Part::Weight) {
            let expected = "one that divides the columns of a matrix of the model".to_owned();
            let found = quantization.group_size().to_string();
            return Err(option_error("group_size", expected, found));
        }
        // Larger elements first, so that each tensor begins at a multiple of its element's size.
        planned.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.size()));
        Ok(Self::written(&planned))
    }

    fn written(planned: &[Planned]) -> Self {
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!({"format": "mlx"}));
        let (mut places, mut end) = (BTreeMap::new(), 0);
        for tensor in planned {
            let elements: usize = tensor.shape.iter().product();
            let begin = end;
            end += (elements * tensor.dtype.size()) as u64;
            let path = tensor.key.trim_end_matches(".weight");
            let entry = json!({
                "dtype": tensor.dtype.to_string(),
                "shape": tensor.shape,
                "data_offsets": [begin, end],
            });
            header.insert(format!("model.{path}.{}", tensor.part.name()), entry);
            places.insert((tensor.key.clone(), tensor.part), begin);
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let length = text.len() as u64;
        let header: Vec<u8> = length.to_le_bytes().into_iter().chain(text).collect();
        for place in places.values_mut() {
            *place += header.len() as u64;
        }
        Self { header, places }
    }

    /// The beginning of the file.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(super) fn is_packed(&self, key: &str) -> bool {
        self.places.contains_key(&(key.to_owned(), Part::Scales))
    }

    /// Where the part of a weight of the checkpoint begins. A part that it has not is at 0.
    pub(super) fn place(&self, key: &str, part: Part) -> u64 {
        let place = self.places.get(&(key.to_owned(), part));
        place.copied().unwrap_or_default()
    }
}

/// Adds the tensors that the weight becomes.
fn plan(key: &str, tensor: &Tensor<'_>, quantization: Quantization, planned: &mut Vec<Planned>) {
    let mut add = |part, dtype, shape| {
        let key = key.to_owned();
        planned.push(Planned {
            key,
            part,
            dtype,
            shape,
        });
    };
    match *tensor.shape() {
        [rows, columns] if columns.is_multiple_of(quantization.group_size()) => {
            let words = columns / 16 * quantization.bits() / 2;
            let groups = vec![rows, columns / quantization.group_size()];
            add(Part::Weight, Dtype::U32, vec![rows, words]);
            match quantization.mode() {
                QuantizationMode::Affine => {
                    add(Part::Scales, tensor.dtype(), groups.clone());
                    add(Part::Biases, tensor.dtype(), groups);
                }
                _ => add(Part::Scales, Dtype::U8, groups),
            }
        }
        _ => add(Part::Weight, tensor.dtype(), tensor.shape().to_vec()),
    }
}
