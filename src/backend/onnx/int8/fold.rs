//! The checkpoint with its RMSNorm gains folded into the linear layers and its residual stream
//! rotated: in f32 the same function, with no channel that stands out.
//!
//! Q rotates the residual stream, R the values of each head. A layer that reads the stream after a
//! norm of gain g becomes `W diag(g) Q`, one that writes it `Q^T W`; `v_proj` gets `R^T` for each
//! of its heads and `o_proj` the inverse, R, for each of its own. The norm over all of a rotated row
//! is that of the row. The pooled row is rotated back before the final norm's gain.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::Element;
use ort::value::Tensor as Array;

use super::matrix::{Matrix, array, quantize_row};
use super::plan::{Group, Plan};
use super::rotation::Rotation;
use super::store::{QuantizedWeight, Store, ones};
use crate::backend::onnx::{failed, pages};
use crate::checkpoint::{Checkpoint, TABLE};
use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Each linear layer of a block: its key, the norm before it, its group.
const LINEARS: [(&str, Option<&str>, Group); 7] = [
    ("self_attn.q_proj", Some(INPUT_NORM), Group::Qkv),
    ("self_attn.k_proj", Some(INPUT_NORM), Group::Qkv),
    ("self_attn.v_proj", Some(INPUT_NORM), Group::Qkv),
    ("self_attn.o_proj", None, Group::Output),
    ("mlp.gate_proj", Some(MLP_NORM), Group::GateUp),
    ("mlp.up_proj", Some(MLP_NORM), Group::GateUp),
    ("mlp.down_proj", None, Group::Down),
];
const INPUT_NORM: &str = "input_layernorm";
const MLP_NORM: &str = "post_attention_layernorm";

/// Below this, squares of the residual stream and sums of them are finite in f32.
const MOST: f64 = 1e17;

/// A checkpoint and the rotations of its model.
pub(super) struct Folding<'a> {
    checkpoint: &'a Checkpoint,
    pub(super) config: &'a ModelConfig,
    stream: Rotation,
    values: Rotation,
}

/// The embedding table in 16 bits.
pub(super) struct Table {
    pub(super) values: Array<i16>, // (rows, hidden)
    /// Of each row.
    pub(super) scales: Array<f32>,
}

impl From<Table> for QuantizedWeight {
    fn from(table: Table) -> Self {
        Self::Table([table.values.into(), table.scales.into()].map(Arc::new))
    }
}

/// The linear layers of a block, in the order of [`LINEARS`].
pub(super) struct Block {
    layer: usize,
    linears: Vec<Matrix>,
    head_norms: [(String, Vec<f32>); 2],
}

impl<'a> Folding<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint, config: &'a ModelConfig) -> Self {
        Self {
            checkpoint,
            config,
            stream: Rotation::new(config.hidden_size()),
            values: Rotation::new(config.head_dim()),
        }
    }

    /// The embedding table, rotated, in 16 bits as in most checkpoints: an error of the table would
    /// pass through all layers. Also gives the rows of `ids` before they were quantised.
    pub(super) fn table(&self, ids: &[u32]) -> Result<(Table, Vec<f32>)> {
        let weight = self.checkpoint.weight(TABLE)?;
        let (rows, hidden) = (self.config.vocab_size(), self.config.hidden_size());
        let values = pages::array::<i16>([rows, hidden]);
        let mut values = values.map_err(|error| failed("allocate", error))?;
        let mut scales = array([rows], std::iter::repeat_n(f32::NAN, rows))?;
        let mut places = {
            let values = values.extract_tensor_mut().1.chunks_exact_mut(hidden);
            values
                .zip(scales.extract_tensor_mut().1.iter_mut())
                .enumerate()
        };
        let mut wanted = vec![0.0; ids.len() * hidden];
        let mut row = Vec::with_capacity(hidden);
        weight.for_each(|value| {
            row.push(value);
            if row.len() < hidden {
                return;
            }
            self.stream.apply(&mut row);
            if let Some((id, (values, scale))) = places.next() {
                *scale = quantize_row(&row, values);
                let wanted = wanted.chunks_exact_mut(hidden).zip(ids);
                for (place, _) in wanted.filter(|&(_, &wanted)| wanted as usize == id) {
                    place.copy_from_slice(&row);
                }
            }
            row.clear();
        })?;
        if scales
            .extract_tensor()
            .1
            .iter()
            .any(|scale| !scale.is_finite())
        {
            return Err(not_quantizable(
                weight.tensor.name(),
                "expected finite elements",
            ));
        }
        Ok((Table { values, scales }, wanted))
    }

    /// The block `layer`, folded and rotated.
    pub(super) fn block(&self, layer: usize) -> Result<Block> {
        let linear = |&(name, norm, _): &(&str, Option<&str>, Group)| {
            let mut matrix = self.matrix(layer, name)?;
            if let Some(norm) = norm {
                matrix.scale_columns(self.matrix(layer, norm)?.data());
                matrix.rotate(&self.stream);
            }
            if name == "self_attn.o_proj" {
                matrix.rotate(&self.values);
            }
            match name {
                "self_attn.v_proj" => matrix.rotate_columns(&self.values),
                _ if norm.is_none() => matrix.rotate_columns(&self.stream),
                _ => {}
            }
            Ok(matrix)
        };
        let head_norm =
            |name: &str| Ok((key(layer, name), self.matrix(layer, name)?.data().to_vec()));
        let block = Block {
            layer,
            linears: LINEARS.iter().map(linear).collect::<Result<_>>()?,
            head_norms: [
                head_norm("self_attn.q_norm")?,
                head_norm("self_attn.k_norm")?,
            ],
        };
        self.check_finite(&block)?;
        Ok(block)
    }

    /// What int8 hides: a product that is not finite is no longer so after quantisation. Here no
    /// product can be, whatever the input: a normed row has a norm of at most sqrt(hidden), and
    /// attention averages values.
    fn check_finite(&self, block: &Block) -> Result<()> {
        let most: Vec<f64> = block.linears.iter().map(Matrix::largest_row).collect();
        let root = |size: usize| (size as f64).sqrt();
        let normed = root(self.config.hidden_size());
        let attended = most[2] * normed * root(self.config.query_size());
        let gated = most[4] * normed * most[5] * normed * root(self.config.intermediate_size());
        let sizes = [normed, normed, normed, attended, normed, normed, gated];
        for ((most, size), (name, ..)) in most.iter().zip(sizes).zip(LINEARS) {
            let bound = most * size;
            // NaN where one factor is zero and another infinite.
            if bound.is_nan() || bound >= MOST {
                let reason = format!("its outputs may reach {bound:.1e}, expected below {MOST:e}");
                return Err(not_quantizable(&key(block.layer, name), &reason));
            }
        }
        Ok(())
    }

    /// What the graph's final rows become: rotated back, times the final norm's gain.
    pub(super) fn finish(&self) -> Result<Finish> {
        let gain = Matrix::read(&self.checkpoint.weight("norm.weight")?)?;
        Ok(Finish {
            stream: Rotation::new(self.config.hidden_size()),
            gain: gain.data().to_vec(),
        })
    }

    fn matrix(&self, layer: usize, name: &str) -> Result<Matrix> {
        Matrix::read(&self.checkpoint.weight(&key(layer, name))?)
    }
}

impl Block {
    /// Its weights: int8, but f32 where `plan` says so.
    pub(super) fn weights(&self, plan: &Plan) -> Result<Store> {
        let mut weights = BTreeMap::new();
        for (matrix, (name, _, group)) in self.linears.iter().zip(LINEARS) {
            let element = match plan.is_exact(self.layer, group) {
                true => Element::F32,
                false => Element::Int8,
            };
            weights.insert(key(self.layer, name), matrix.to_weight(element)?);
        }
        for norm in [INPUT_NORM, MLP_NORM] {
            let ones = ones(self.linears[0].columns())?;
            weights.insert(key(self.layer, norm), ones);
        }
        for (key, gain) in &self.head_norms {
            let gain = array([gain.len()], gain.iter().copied())?;
            weights.insert(key.clone(), QuantizedWeight::F32(Arc::new(gain.into())));
        }
        Ok(Store::new(weights))
    }
}

/// The end of a forward pass, on the host.
pub(in crate::backend::onnx) struct Finish {
    stream: Rotation,
    gain: Vec<f32>,
}

impl Finish {
    /// Rows `(rows, hidden)` as they leave the final norm, which had no gain.
    pub(in crate::backend::onnx) fn apply(&self, rows: &mut [f32]) {
        self.stream.undo(rows);
        for row in rows.chunks_exact_mut(self.gain.len()) {
            for (value, gain) in row.iter_mut().zip(&self.gain) {
                *value *= gain;
            }
        }
    }
}

fn key(layer: usize, name: &str) -> String {
    format!("layers.{layer}.{name}.weight")
}

fn not_quantizable(tensor: &str, reason: &str) -> Error {
    Error::NotQuantizable {
        tensor: tensor.to_owned(),
        reason: reason.to_owned(),
    }
}
