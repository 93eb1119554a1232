//! The Qwen3 transformer over [`Array`], to be read beside the reference model code.
//!
//! Fields are spelled as the checkpoint spells them, except where projections that read the
//! same input were fused at load. Shapes: B sequences, L tokens, H query heads, KV key/value
//! heads, D head_dim.

use super::array::Array;
use super::ffi::bridge::ElementType;
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

pub(super) struct Attention {
    qkv_proj: Array, // [(H + 2 KV) * D, hidden]: q_proj, k_proj, v_proj
    o_proj: Array,
    q_norm: Array,
    k_norm: Array,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rope_theta: f32,
    eps: f32,
}

impl Attention {
    fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let key = |name: &str| format!("layers.{layer}.self_attn.{name}.weight");
        Ok(Self {
            qkv_proj: weights.rows(&[&key("q_proj"), &key("k_proj"), &key("v_proj")])?,
            o_proj: weights.get(&key("o_proj"))?,
            q_norm: weights.get(&key("q_norm"))?,
            k_norm: weights.get(&key("k_norm"))?,
            heads: config.num_attention_heads(),
            kv_heads: config.num_key_value_heads(),
            head_dim: config.head_dim(),
            rope_theta: config.rope_theta(),
            eps: config.rms_norm_eps(),
        })
    }

    fn forward(&self, x: &Array) -> Result<Array> {
        let (h, kv, d) = (self.heads, self.kv_heads, self.head_dim);
        let [b, l] = [x.shape()[0], x.shape()[1]];
        // (B, L, hidden) -> (B, L, H + 2 KV, D)
        let qkv = linear(x, &self.qkv_proj)?.reshape(&[b, l, h + 2 * kv, d])?;
        let queries = normed(&qkv.slice(2, 0, h)?, &self.q_norm, self.eps)?;
        let keys = normed(&qkv.slice(2, h, h + kv)?, &self.k_norm, self.eps)?;
        let values = qkv.slice(2, h + kv, h + 2 * kv)?;

        // (B, L, heads, D) -> (B, heads, L, D)
        let queries = queries.transpose(&[0, 2, 1, 3])?.rope(self.rope_theta, 0)?;
        let keys = keys.transpose(&[0, 2, 1, 3])?.rope(self.rope_theta, 0)?;
        let values = values.transpose(&[0, 2, 1, 3])?;

        let scale = 1.0 / (d as f32).sqrt();
        let output = queries.causal_attention(&keys, &values, scale)?;
        // (B, H, L, D) -> (B, L, H * D)
        let output = output.transpose(&[0, 2, 1, 3])?.reshape(&[b, l, h * d])?;
        linear(&output, &self.o_proj)
    }
}

pub(super) struct Mlp {
    gate_up_proj: Array, // [2 * intermediate, hidden]: gate_proj, up_proj
    down_proj: Array,
    intermediate: usize,
}

impl Mlp {
    fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let key = |name: &str| format!("layers.{layer}.mlp.{name}.weight");
        Ok(Self {
            gate_up_proj: weights.rows(&[&key("gate_proj"), &key("up_proj")])?,
            down_proj: weights.get(&key("down_proj"))?,
            intermediate: config.intermediate_size(),
        })
    }

    fn forward(&self, x: &Array) -> Result<Array> {
        let gate_up = linear(x, &self.gate_up_proj)?;
        let gate = gate_up.slice(2, 0, self.intermediate)?;
        let up = gate_up.slice(2, self.intermediate, 2 * self.intermediate)?;
        linear(&gate.swiglu(&up)?, &self.down_proj)
    }
}

pub(super) struct Block {
    self_attn: Attention,
    mlp: Mlp,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    eps: f32,
}

impl Block {
    fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let key = |name: &str| format!("layers.{layer}.{name}.weight");
        Ok(Self {
            self_attn: Attention::load(weights, layer, config)?,
            mlp: Mlp::load(weights, layer, config)?,
            input_layernorm: weights.get(&key("input_layernorm"))?,
            post_attention_layernorm: weights.get(&key("post_attention_layernorm"))?,
            eps: config.rms_norm_eps(),
        })
    }

    fn forward(&self, x: &Array) -> Result<Array> {
        let attended = self
            .self_attn
            .forward(&normed(x, &self.input_layernorm, self.eps)?)?;
        let x = x.add(&attended)?;
        let transformed =
            self.mlp
                .forward(&normed(&x, &self.post_attention_layernorm, self.eps)?)?;
        x.add(&transformed)
    }
}

/// A dense Qwen3 decoder without its language-model head.
pub(super) struct Qwen3 {
    embed_tokens: Array,
    layers: Vec<Block>,
    norm: Array,
    eps: f32,
}

impl Qwen3 {
    pub(super) fn load(weights: &Weights<'_>, config: &ModelConfig) -> Result<Self> {
        Ok(Self {
            embed_tokens: weights.get("embed_tokens.weight")?,
            layers: (0..config.num_hidden_layers())
                .map(|layer| Block::load(weights, layer, config))
                .collect::<Result<_>>()?,
            norm: weights.get("norm.weight")?,
            eps: config.rms_norm_eps(),
        })
    }

    /// Token ids `(B, L)`, row-major, to the residual stream after the last block `(B, L, hidden)`,
    /// computed in `compute` whatever the weights are stored in.
    pub(super) fn forward(
        &self,
        ids: &[u32],
        shape: [usize; 2],
        compute: ElementType,
    ) -> Result<Array> {
        let mut x = self.embed_tokens.take_rows(ids, &shape)?.astype(compute)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let _span =
                tracing::trace_span!(target: "qwen3_embedding::op", "layer", index).entered();
            x = layer.forward(&x)?;
        }
        Ok(x)
    }

    /// The final norm.
    pub(super) fn norm(&self, x: &Array) -> Result<Array> {
        normed(x, &self.norm, self.eps)
    }
}

/// `x @ weight.T`, in the precision of `x`.
fn linear(x: &Array, weight: &Array) -> Result<Array> {
    x.matmul(&weight.astype(x.element_type()?)?.transpose(&[1, 0])?)
}

/// RMS norm in the precision of `x`.
fn normed(x: &Array, weight: &Array, eps: f32) -> Result<Array> {
    x.rms_norm(&weight.astype(x.element_type()?)?, eps)
}
