//! Attention of a layer, and of the last one, whose result is read at one token of each sequence.
//!
//! Shapes: B sequences, L tokens, T = B * L, H query heads, KV key/value heads, D head_dim.

use super::array::{Array, failed};
use super::linear::Linear;
use super::past::KeyValues;
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

/// What all layers have in common.
#[derive(Clone, Copy)]
struct Heads {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rope_theta: f32,
    eps: f32,
}

impl Heads {
    fn of(config: &ModelConfig) -> Self {
        Self {
            heads: config.num_attention_heads(),
            kv_heads: config.num_key_value_heads(),
            head_dim: config.head_dim(),
            rope_theta: config.rope_theta(),
            eps: config.rms_norm_eps(),
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// The first `norm.len()` heads of `projected`, `(B, L, any, D)`, normed and rotated from
    /// position `offset` on: `(B, norm.len(), L, D)`.
    fn rotated(&self, projected: &Array, norm: &Array, offset: usize) -> Result<Array> {
        // All heads are normed: MLX would copy a part of them first.
        let normed = projected.rms_norm_unscaled(self.eps)?;
        let normed = normed.slice(2, 0, norm.shape()[0])?;
        let scaled = normed.multiply(&norm.astype(projected.element_type()?)?)?;
        // (B, L, heads, D) -> (B, heads, L, D)
        scaled
            .transpose(&[0, 2, 1, 3])?
            .rope(self.rope_theta, offset)
    }
}

/// Every token's queries over the keys up to its own.
pub(super) struct Attention {
    qkv_proj: Linear, // to (H + 2 KV) * D: q_proj, k_proj, v_proj
    o_proj: Linear,
    qk_norm: Array, // [H + KV, D]: q_norm for each head, k_norm for each
    heads: Heads,
}

impl Attention {
    pub(super) fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let path = |name: &str| format!("layers.{layer}.self_attn.{name}");
        let (q_norm, k_norm) = (path("q_norm.weight"), path("k_norm.weight"));
        let heads = Heads::of(config);
        Ok(Self {
            qkv_proj: Linear::load(
                weights,
                &[&path("q_proj"), &path("k_proj"), &path("v_proj")],
            )?,
            o_proj: Linear::load(weights, &[&path("o_proj")])?,
            qk_norm: weights.repeated(&[(&q_norm, heads.heads), (&k_norm, heads.kv_heads)])?,
            heads,
        })
    }

    /// The residual stream `(T, hidden)` with what attention adds to it, and the keys and values
    /// that it attended over; `x` is the stream, normed.
    pub(super) fn add_to(
        &self,
        residual: &Array,
        x: &Array,
        [b, l]: [usize; 2],
        past: Option<&KeyValues>,
    ) -> Result<(Array, KeyValues)> {
        let (h, kv, d) = (self.heads.heads, self.heads.kv_heads, self.heads.head_dim);
        // (T, hidden) -> (B, L, H + 2 KV, D)
        let qkv = self.qkv_proj.forward(x)?.reshape(&[b, l, h + 2 * kv, d])?;
        let offset = past.map_or(0, KeyValues::tokens);
        let rotated = self.heads.rotated(&qkv, &self.qk_norm, offset)?;
        let (queries, keys) = (rotated.slice(1, 0, h)?, rotated.slice(1, h, h + kv)?);
        // (B, L, KV, D) -> (B, KV, L, D)
        let values = qkv.slice(2, h + kv, h + 2 * kv)?.transpose(&[0, 2, 1, 3])?;
        let all = KeyValues { keys, values }.after(past)?;

        let output = queries.causal_attention(&all.keys, &all.values, self.heads.scale())?;
        // (B, H, L, D) -> (T, H * D)
        let output = output.transpose(&[0, 2, 1, 3])?.reshape(&[b * l, h * d])?;
        Ok((self.o_proj.add_to(residual, &output)?, all))
    }
}

/// One token's queries over the keys up to its own, for each sequence.
pub(super) struct LastAttention {
    q_proj: Linear,
    kv_proj: Linear, // to 2 KV * D: k_proj, v_proj
    o_proj: Linear,
    q_norm: Array,
    k_norm: Array, // [KV, D]: for each head
    heads: Heads,
}

impl LastAttention {
    pub(super) fn load(weights: &Weights<'_>, layer: usize, config: &ModelConfig) -> Result<Self> {
        let path = |name: &str| format!("layers.{layer}.self_attn.{name}");
        let heads = Heads::of(config);
        Ok(Self {
            q_proj: Linear::load(weights, &[&path("q_proj")])?,
            kv_proj: Linear::load(weights, &[&path("k_proj"), &path("v_proj")])?,
            o_proj: Linear::load(weights, &[&path("o_proj")])?,
            q_norm: weights.get(&path("q_norm.weight"))?,
            k_norm: weights.repeated(&[(&path("k_norm.weight"), heads.kv_heads)])?,
            heads,
        })
    }

    /// The rows `(B, hidden)` of the residual stream `(T, hidden)` at the tokens `last` of the
    /// sequences, with what attention adds to them; `x` is the stream, normed.
    pub(super) fn add_to(
        &self,
        residual: &Array,
        x: &Array,
        [b, l]: [usize; 2],
        past: Option<&KeyValues>,
        last: &[u32],
    ) -> Result<Array> {
        let (h, d) = (self.heads.heads, self.heads.head_dim);
        let offset = past.map_or(0, KeyValues::tokens);
        let all = self.keys_and_values(x, [b, l], offset)?.after(past)?;

        let rows = rows(l, last)?;
        let (residual, x) = (residual.take_rows(&rows, &[b])?, x.take_rows(&rows, &[b])?);
        // (B, hidden) -> (B, H, 1, D)
        let queries = self.q_proj.forward(&x)?.reshape(&[b, h, 1, d])?;
        let q_norm = self.q_norm.astype(queries.element_type()?)?;
        let queries = queries.rms_norm(&q_norm, self.heads.eps)?;
        let positions = positions(offset, last)?;
        let queries = queries.rope_from(self.heads.rope_theta, &positions)?;

        let mask = up_to(&positions, offset + l, &x)?;
        let (keys, values) = (&all.keys, &all.values);
        let output = queries.attention(keys, values, self.heads.scale(), mask.as_ref())?;
        // (B, H, 1, D) -> (B, H * D)
        self.o_proj.add_to(&residual, &output.reshape(&[b, h * d])?)
    }

    /// Keys and values of all tokens, from position `offset` on; `x` is the stream, normed.
    pub(super) fn keys_and_values(
        &self,
        x: &Array,
        [b, l]: [usize; 2],
        offset: usize,
    ) -> Result<KeyValues> {
        let (kv, d) = (self.heads.kv_heads, self.heads.head_dim);
        // (T, hidden) -> (B, L, 2 KV, D)
        let projected = self.kv_proj.forward(x)?.reshape(&[b, l, 2 * kv, d])?;
        Ok(KeyValues {
            keys: self.heads.rotated(&projected, &self.k_norm, offset)?,
            // (B, L, KV, D) -> (B, KV, L, D)
            values: projected.slice(2, kv, 2 * kv)?.transpose(&[0, 2, 1, 3])?,
        })
    }
}

/// Where the tokens `last` stand after `offset` others.
fn positions(offset: usize, last: &[u32]) -> Result<Vec<u32>> {
    let offset = u32::try_from(offset).map_err(|e| failed("rope", e))?;
    Ok(last.iter().map(|last| offset + last).collect())
}

/// Where the tokens `last` of sequences of `width` tokens stand in `(T, hidden)`.
fn rows(width: usize, last: &[u32]) -> Result<Vec<u32>> {
    let starts = (0..).step_by(width);
    let rows = starts.zip(last).map(|(start, &last)| {
        let start = u32::try_from(start).map_err(|e| failed("take", e))?;
        Ok(start + last)
    });
    rows.collect()
}

/// Which of `width` keys stand at `last` or before: `(B, 1, 1, width)`. None where all do.
fn up_to(last: &[u32], width: usize, like: &Array) -> Result<Option<Array>> {
    if last.iter().all(|&last| last as usize + 1 == width) {
        return Ok(None);
    }
    let keys = |last: u32| (0..width).map(move |key| key <= last as usize);
    let shape = [last.len(), 1, 1, width];
    let values = last.iter().flat_map(|&last| keys(last));
    Array::from_bools(values, &shape, like.device).map(Some)
}
