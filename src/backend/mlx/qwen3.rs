//! The Qwen3 transformer over [`Array`], to be read beside the reference model code.
//!
//! Fields are spelled as the checkpoint spells them, except where projections that read the
//! same input were fused at load. The residual stream is `(T, hidden)`, the tokens of B sequences
//! of L tokens after one another.

use super::array::{Array, failed};
use super::attention::{Attention, LastAttention};
use super::ffi::bridge::ElementType;
use super::linear::{Embedding, Linear};
use super::past::{KeyValues, Past};
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

struct Mlp {
    gate_up_proj: Linear, // to 2 * intermediate: gate_proj, up_proj
    down_proj: Linear,
    intermediate: usize,
}

impl Mlp {
    fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let path = |name: &str| format!("layers.{layer}.mlp.{name}");
        Ok(Self {
            gate_up_proj: Linear::load(weights, &[&path("gate_proj"), &path("up_proj")])?,
            down_proj: Linear::load(weights, &[&path("down_proj")])?,
            intermediate: config.intermediate_size(),
        })
    }

    fn add_to(&self, residual: &Array, x: &Array) -> Result<Array> {
        let gate_up = self.gate_up_proj.forward(x)?;
        let gate = gate_up.slice(1, 0, self.intermediate)?;
        let up = gate_up.slice(1, self.intermediate, 2 * self.intermediate)?;
        self.down_proj.add_to(residual, &gate.swiglu(&up)?)
    }
}

/// One layer, with attention of all tokens or of the last ones.
pub(super) struct Block<A> {
    self_attn: A,
    mlp: Mlp,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    eps: f32,
}

impl<A> Block<A> {
    fn load(
        weights: &Weights<'_>,
        layer: usize,
        config: &ModelConfig,
        self_attn: A,
    ) -> Result<Self> {
        let key = |name: &str| format!("layers.{layer}.{name}.weight");
        Ok(Self {
            self_attn,
            mlp: Mlp::load(weights, layer, config)?,
            input_layernorm: weights.get(&key("input_layernorm"))?,
            post_attention_layernorm: weights.get(&key("post_attention_layernorm"))?,
            eps: config.rms_norm_eps(),
        })
    }

    /// What follows attention.
    fn transformed(&self, x: &Array) -> Result<Array> {
        let normed = normed(x, &self.post_attention_layernorm, self.eps)?;
        self.mlp.add_to(x, &normed)
    }
}

impl Block<Attention> {
    /// The stream after this layer, and the keys and values that it attended over.
    fn forward(
        &self,
        x: &Array,
        shape: [usize; 2],
        past: Option<&KeyValues>,
    ) -> Result<(Array, KeyValues)> {
        let normed = normed(x, &self.input_layernorm, self.eps)?;
        let (x, all) = self.self_attn.add_to(x, &normed, shape, past)?;
        Ok((self.transformed(&x)?, all))
    }

    /// As [`forward`](Self::forward) of one sequence, of `piece` tokens at a time: what is held at
    /// one time beside the stream are this layer's keys and values, and what one piece takes.
    fn forward_in_pieces(&self, x: &Array, piece: usize) -> Result<Array> {
        let tokens = x.shape()[0];
        let mut past: Option<KeyValues> = None;
        let mut outputs: Option<Array> = None;
        for start in (0..tokens).step_by(piece) {
            let stop = tokens.min(start + piece);
            let rows = x.slice(0, start, stop)?;
            let (output, all) = self.forward(&rows, [1, stop - start], past.as_ref())?;
            let joined = match &outputs {
                None => output,
                Some(before) => before.concatenate(&output, 0)?,
            };
            joined.eval()?;
            (outputs, past) = (Some(joined), Some(all));
        }
        outputs.ok_or_else(|| failed("forward", "no tokens"))
    }
}

impl Block<LastAttention> {
    fn forward(
        &self,
        x: &Array,
        shape: [usize; 2],
        past: Option<&KeyValues>,
        last: &[u32],
    ) -> Result<Array> {
        let normed = normed(x, &self.input_layernorm, self.eps)?;
        self.transformed(&self.self_attn.add_to(x, &normed, shape, past, last)?)
    }
}

/// A dense Qwen3 decoder without its language-model head.
pub(super) struct Qwen3 {
    embed_tokens: Embedding,
    pub(super) layers: Vec<Block<Attention>>, // all but the last
    last_layer: Block<LastAttention>,
    norm: Array,
    eps: f32,
}

impl Qwen3 {
    pub(super) fn load(weights: &Weights<'_>, config: &ModelConfig) -> Result<Self> {
        let last = config.num_hidden_layers() - 1;
        let layer = |layer| {
            let self_attn = Attention::load(weights, layer, config)?;
            Block::load(weights, layer, config, self_attn)
        };
        let self_attn = LastAttention::load(weights, last, config)?;
        Ok(Self {
            embed_tokens: Embedding::load(weights, "embed_tokens")?,
            layers: (0..last).map(layer).collect::<Result<_>>()?,
            last_layer: Block::load(weights, last, config, self_attn)?,
            norm: weights.get("norm.weight")?,
            eps: config.rms_norm_eps(),
        })
    }

    /// Token ids `(B, L)`, row-major, which go on after `past`, to the final-normed rows of the
    /// tokens at `last` in each sequence `(B, hidden)`, computed in `compute` whatever the weights
    /// are stored in.
    pub(super) fn forward(
        &self,
        ids: &[u32],
        shape: [usize; 2],
        past: Option<&Past>,
        last: &[u32],
        compute: ElementType,
    ) -> Result<Array> {
        let layer_past = |layer: usize| past.and_then(|past| past.layers.get(layer));
        let mut x = self.embed_tokens.forward(ids, compute)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let _span = told(index);
            x = layer.forward(&x, shape, layer_past(index))?.0;
        }
        let last_index = self.layers.len();
        let past = layer_past(last_index);
        let span = told(last_index);
        let x = self.last_layer.forward(&x, shape, past, last)?;
        drop(span);
        normed(&x, &self.norm, self.eps)
    }

    /// As [`forward`](Self::forward) of one sequence, `piece` tokens at a time.
    pub(super) fn forward_in_pieces(
        &self,
        ids: &[u32],
        piece: usize,
        compute: ElementType,
    ) -> Result<Array> {
        let mut x = self.embed_tokens.forward(ids, compute)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let _span = told(index);
            x = layer.forward_in_pieces(&x, piece)?;
        }
        let last = u32::try_from(ids.len() - 1).map_err(|e| failed("forward", e))?;
        let span = told(self.layers.len());
        let x = self.last_layer.forward(&x, [1, ids.len()], None, &[last])?;
        drop(span);
        normed(&x, &self.norm, self.eps)
    }

    /// The past that the tokens `ids` are to sequences which begin with them.
    pub(super) fn past(&self, ids: &[u32], compute: ElementType) -> Result<Past> {
        let shape = [1, ids.len()];
        let mut x = self.embed_tokens.forward(ids, compute)?;
        let mut layers = Vec::new();
        for layer in &self.layers {
            let (after, all) = layer.forward(&x, shape, None)?;
            layers.push(all);
            x = after;
        }
        let last = &self.last_layer;
        let x = normed(&x, &last.input_layernorm, last.eps)?;
        layers.push(last.self_attn.keys_and_values(&x, shape, 0)?);
        Past::of(&layers)
    }
}

/// Tells a profile which layer the operations belong to that follow.
fn told(layer: usize) -> tracing::span::EnteredSpan {
    tracing::trace_span!(target: "qwen3_embedding::op", "layer", index = layer).entered()
}

/// RMS norm in the precision of `x`.
fn normed(x: &Array, weight: &Array, eps: f32) -> Result<Array> {
    x.rms_norm(&weight.astype(x.element_type()?)?, eps)
}
