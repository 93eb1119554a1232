//! The Qwen3 transformer as an ONNX graph, to be read beside the reference model code.
//!
//! Weights are named and laid out as in the checkpoint. Shapes: B sequences, L tokens, T = B * L,
//! H query heads, KV key/value heads, D head_dim.

use ort::editor::Model;
use ort::value::TensorElementType;

use super::failed;
use super::ops::{Mask, Ops, Value, outlet};
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Result;

/// Token ids `(T)`.
pub(super) const INPUT_IDS: &str = "input_ids";
/// Place of each token in its sequence `(B, L)`.
pub(super) const POSITION_IDS: &str = "position_ids";
/// Where each sequence's last token stands among the T, as `(B)`.
pub(super) const LAST_TOKENS: &str = "last_tokens";
/// Cosines of each position's angles `(positions, D / 2)`.
pub(super) const COSINES: &str = "cosines";
/// Sines of each position's angles `(positions, D / 2)`.
pub(super) const SINES: &str = "sines";

/// Which tokens a layer computes queries, output projection and MLP for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    /// Each sequence's last token: nothing reads the others after the last layer.
    Last,
}

/// The whole model: its one output holds the last tokens' rows after the final norm `(B, hidden)`.
pub(super) fn qwen3(weights: &mut Weights<'_>, config: &ModelConfig) -> Result<Model> {
    let mut graph = Qwen3::new(weights, config)?;
    let mut x = graph.embed_tokens()?;
    for layer in 0..config.num_hidden_layers() {
        let is_last = layer + 1 == config.num_hidden_layers();
        x = graph.block(layer, &x, if is_last { Rows::Last } else { Rows::All })?;
    }
    let x = graph.normed(&x, "norm.weight")?;
    graph.finish(&x)
}

struct Qwen3<'a, 'w> {
    ops: Ops,
    weights: &'a mut Weights<'w>,
    config: &'a ModelConfig,
    queries_shape: Value, // (B, L, H * D)
    keys_shape: Value,    // (B, L, KV * D)
}

impl<'a, 'w> Qwen3<'a, 'w> {
    fn new(weights: &'a mut Weights<'w>, config: &'a ModelConfig) -> Result<Self> {
        let mut ops = Ops::new().map_err(|error| failed("graph", error))?;
        let mut shape = |size| {
            let shape = ops.shape_and(POSITION_IDS, signed(size));
            shape.map_err(|error| failed("graph", error))
        };
        Ok(Self {
            queries_shape: shape(config.query_size())?,
            keys_shape: shape(config.key_value_size())?,
            ops,
            weights,
            config,
        })
    }

    /// `(T, hidden)`.
    fn embed_tokens(&mut self) -> Result<Value> {
        let key = "embed_tokens.weight";
        if self.weights.precision == Dtype::F16 {
            let table = self.half_weight(key)?;
            return self.add(|ops| {
                let rows = ops.gather(&table, INPUT_IDS)?;
                ops.widened(&rows)
            });
        }
        let table = self.weight(key)?;
        self.add(|ops| ops.gather(&table, INPUT_IDS))
    }

    /// `(T, hidden)` to itself, or to `(B, hidden)`.
    fn block(&mut self, layer: usize, x: &str, rows: Rows) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.{name}.weight");
        let normed = self.normed(x, &key("input_layernorm"))?;
        let attended = self.self_attn(layer, &normed, rows)?;
        let x = match rows {
            Rows::All => x.to_owned(),
            Rows::Last => self.add(|ops| ops.gather(x, LAST_TOKENS))?,
        };
        let x = self.add(|ops| ops.add(&x, &attended))?;

        let normed = self.normed(&x, &key("post_attention_layernorm"))?;
        let transformed = self.mlp(layer, &normed)?;
        self.add(|ops| ops.add(&x, &transformed))
    }

    /// `(T, hidden)` to itself.
    fn mlp(&mut self, layer: usize, x: &str) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.mlp.{name}.weight");
        if self.weights.precision == Dtype::F16 {
            let gate = self.linear(x, &key("gate_proj"))?;
            let up = self.linear(x, &key("up_proj"))?;
            let gated = self.add(|ops| {
                let gate = ops.silu(&gate)?;
                ops.mul(&gate, &up)
            })?;
            return self.linear(&gated, &key("down_proj"));
        }
        let gate = self.weight(&key("gate_proj"))?;
        let up = self.weight(&key("up_proj"))?;
        let down = self.weight(&key("down_proj"))?;
        self.add(|ops| {
            let gate = ops.linear(&gate, x)?;
            let gate = ops.silu(&gate)?;
            let up = ops.linear(&up, x)?;
            let gated = ops.mul(&gate, &up)?;
            let transformed = ops.linear_of_columns(&down, &gated)?;
            ops.rows(&transformed)
        })
    }

    /// `(T, hidden)` to itself, or to `(B, hidden)`.
    fn self_attn(&mut self, layer: usize, x: &str, rows: Rows) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.self_attn.{name}.weight");
        let (h, kv) = (
            self.config.num_attention_heads(),
            self.config.num_key_value_heads(),
        );
        let keys = self.linear(x, &key("k_proj"))?;
        let keys = self.head_normed(&keys, &key("k_norm"), kv)?;
        let values = self.linear(x, &key("v_proj"))?;
        let shape = self.keys_shape.clone();
        let [keys, values] = self.add(|ops| {
            let keys = ops.reshape_to(&keys, &shape)?;
            let keys = ops.rope(&keys, [COSINES, SINES], POSITION_IDS, signed(kv))?;
            Ok([keys, ops.reshape_to(&values, &shape)?])
        })?;

        let x = match rows {
            Rows::All => x.to_owned(),
            Rows::Last => self.add(|ops| ops.gather(x, LAST_TOKENS))?,
        };
        let queries = self.linear(&x, &key("q_proj"))?;
        let queries = self.head_normed(&queries, &key("q_norm"), h)?;
        let output = match rows {
            Rows::All => self.attention_of_all(&queries, [&keys, &values]),
            Rows::Last => self.attention_of_last(&queries, [&keys, &values]),
        }?;
        let columns = signed(self.config.query_size());
        let output = self.add(|ops| ops.reshape(&output, &[-1, columns]))?;
        self.linear(&output, &key("o_proj"))
    }

    /// Queries `(T, H * D)` to `(B, L, H * D)`.
    fn attention_of_all(&mut self, queries: &str, [keys, values]: [&str; 2]) -> Result<Value> {
        let (heads, shape) = (self.heads(), self.queries_shape.clone());
        self.add(|ops| {
            let queries = ops.reshape_to(queries, &shape)?;
            let queries = ops.rope(&queries, [COSINES, SINES], POSITION_IDS, heads[0])?;
            ops.attention([&queries, keys, values], heads, Mask::Causal)
        })
    }

    /// Queries `(B, H * D)` to `(B, 1, H * D)`. A last token may attend to all tokens of its
    /// sequence, but not to padding, which stands at later positions.
    fn attention_of_last(&mut self, queries: &str, [keys, values]: [&str; 2]) -> Result<Value> {
        let (heads, columns) = (self.heads(), signed(self.config.query_size()));
        self.add(|ops| {
            let positions = ops.reshape(POSITION_IDS, &[-1])?;
            let last = ops.gather(&positions, LAST_TOKENS)?;
            let last = ops.unsqueeze(&last, &[1])?; // (B, 1)
            let queries = ops.reshape(queries, &[-1, 1, columns])?;
            let queries = ops.rope(&queries, [COSINES, SINES], &last, heads[0])?;
            let allowed = ops.less_or_equal(POSITION_IDS, &last)?; // (B, L)
            let allowed = ops.unsqueeze(&allowed, &[1, 2])?; // (B, 1, 1, L)
            ops.attention([&queries, keys, values], heads, Mask::Allowed(&allowed))
        })
    }

    /// RMS norm of each head of `(T, heads * D)`, as `(T, heads, D)`.
    fn head_normed(&mut self, x: &str, key: &str, heads: usize) -> Result<Value> {
        let shape = [-1, signed(heads), signed(self.config.head_dim())];
        let x = self.add(|ops| ops.reshape(x, &shape))?;
        self.normed(&x, key)
    }

    /// `(T, in)` to `(T, out)`.
    fn linear(&mut self, x: &str, key: &str) -> Result<Value> {
        if self.weights.precision == Dtype::F16 {
            let weight = self.half_weight(key)?;
            return self.add(|ops| ops.half_linear(&weight, x));
        }
        let weight = self.weight(key)?;
        self.add(|ops| {
            let x = ops.linear(&weight, x)?;
            ops.rows(&x)
        })
    }

    /// RMS norm over the last axis.
    fn normed(&mut self, x: &str, key: &str) -> Result<Value> {
        let (weight, eps) = (self.weight(key)?, self.config.rms_norm_eps());
        self.add(|ops| ops.rms_norm(x, &weight, eps))
    }

    fn weight(&mut self, key: &str) -> Result<Value> {
        let weight = self.weights.get(key)?;
        self.add(|ops| ops.weight(key, weight))
    }

    fn half_weight(&mut self, key: &str) -> Result<Value> {
        let weight = self.weights.get_half(key)?;
        self.add(|ops| ops.weight(key, weight))
    }

    fn heads(&self) -> [i64; 2] {
        [
            signed(self.config.num_attention_heads()),
            signed(self.config.num_key_value_heads()),
        ]
    }

    fn add<T>(&mut self, nodes: impl FnOnce(&mut Ops) -> ort::Result<T>) -> Result<T> {
        nodes(&mut self.ops).map_err(|error| failed("graph", error))
    }

    fn finish(self, x: &str) -> Result<Model> {
        use TensorElementType::{Float32, Int64};
        let (hidden, half) = (self.config.hidden_size(), self.config.head_dim() / 2);
        let inputs = vec![
            outlet(INPUT_IDS, Int64, &[-1]),
            outlet(POSITION_IDS, Int64, &[-1, -1]),
            outlet(LAST_TOKENS, Int64, &[-1]),
            outlet(COSINES, Float32, &[-1, signed(half)]),
            outlet(SINES, Float32, &[-1, signed(half)]),
        ];
        let outputs = vec![outlet(x, Float32, &[-1, signed(hidden)])];
        let model = self.ops.finish(inputs, outputs);
        model.map_err(|error| failed("graph", error))
    }
}

/// Sizes are checked by [`ModelConfig`]: each is below 2^31.
fn signed(size: usize) -> i64 {
    size as i64
}
