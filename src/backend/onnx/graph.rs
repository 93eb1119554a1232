//! The Qwen3 transformer as an ONNX graph, to be read beside the reference model code.
//!
//! Weights are named and laid out as in the checkpoint. Shapes: B sequences, L tokens, T = B * L,
//! H query heads, KV key/value heads, D head_dim, P tokens of a past, S = P + L keys.

mod attention;
mod form;
mod linear;

use ort::value::TensorElementType;

use super::failed;
use super::ops::{Axis, Built, Ops, Value, outlet};
use super::weights::Weights;
use crate::checkpoint::TABLE;
use crate::config::ModelConfig;
use crate::error::Result;
use linear::Named;

use form::SEQUENCES;
pub(super) use form::{
    COSINES, Form, INPUT_IDS, KEPT, KEY_POSITIONS, LAST_TOKENS, POSITION_IDS, SINES, STREAM, Span,
    past_names,
};

/// Which tokens a layer computes queries, output projection and MLP for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    /// Each sequence's last token: nothing reads the others after the last layer.
    Last,
}

/// The layers of `span`. The first output holds the last tokens' rows after the final norm
/// `(B, hidden)`, or the [`STREAM`] `(T, hidden)` after the last of these layers.
pub(super) fn qwen3(
    weights: &mut dyn Weights,
    config: &ModelConfig,
    form: Form,
    span: &Span,
) -> Result<Built> {
    let mut graph = Qwen3::new(weights, config, form)?;
    let mut stream = Stream::from(match span.whole {
        true => graph.embed_tokens()?,
        false => STREAM.to_owned(),
    });
    for layer in span.layers.clone() {
        let last = span.whole && layer + 1 == span.layers.end;
        stream = graph.block(layer, stream, if last { Rows::Last } else { Rows::All })?;
    }
    let (x, rows) = match span.whole {
        true => {
            let [normed, _] = graph.normed_stream(stream, "norm.weight")?;
            (normed, SEQUENCES)
        }
        false => (graph.sum(&stream)?, form.tokens()),
    };
    let hidden = Axis::Of(signed(config.hidden_size()));
    graph.outputs.insert(0, (x, vec![rows, hidden]));
    graph.finish(span)
}

/// The residual stream, and what is still to be added to it.
struct Stream {
    x: Value,
    update: Option<Value>,
}

impl From<Value> for Stream {
    fn from(x: Value) -> Self {
        Self { x, update: None }
    }
}

struct Qwen3<'a> {
    ops: Ops,
    weights: &'a mut dyn Weights,
    config: &'a ModelConfig,
    form: Form,
    outputs: Vec<(Value, Vec<Axis>)>,
}

impl<'a> Qwen3<'a> {
    fn new(weights: &'a mut dyn Weights, config: &'a ModelConfig, form: Form) -> Result<Self> {
        let ops = Ops::new().map_err(|error| failed("graph", error))?;
        Ok(Self {
            ops,
            weights,
            config,
            form,
            outputs: Vec::new(),
        })
    }

    /// `(T, hidden)`.
    fn embed_tokens(&mut self) -> Result<Value> {
        let table = self.weight(TABLE)?;
        self.add(|ops| match &table {
            Named::F32(table) => ops.gather(table, INPUT_IDS),
            Named::F16(table) | Named::Bf16(table) => {
                let rows = ops.gather(table, INPUT_IDS)?;
                ops.widened(&rows)
            }
            Named::Table([table, scales]) => ops.gather_scaled([table, scales], INPUT_IDS),
            Named::Panels(_) => Err(ort::Error::new("rows of panels cannot be gathered")),
        })
    }

    /// `(T, hidden)` to itself, or to `(B, hidden)`.
    fn block(&mut self, layer: usize, stream: Stream, rows: Rows) -> Result<Stream> {
        let key = |name: &str| format!("layers.{layer}.{name}.weight");
        self.ops.set_scope(format!("layers.{layer}/"));
        let [normed, x] = self.normed_stream(stream, &key("input_layernorm"))?;
        let update = Some(self.self_attn(layer, &normed, rows)?);
        let x = match rows {
            Rows::All => x,
            Rows::Last => self.add(|ops| ops.gather(&x, LAST_TOKENS))?,
        };

        let norm = key("post_attention_layernorm");
        let [normed, x] = self.normed_stream(Stream { x, update }, &norm)?;
        let update = Some(self.mlp(layer, &normed)?);
        self.ops.set_scope("");
        Ok(Stream { x, update })
    }

    /// RMS norm of the stream, and the stream.
    fn normed_stream(&mut self, stream: Stream, key: &str) -> Result<[Value; 2]> {
        if let (Some(update), true) = (&stream.update, self.form.has_own_operators()) {
            let weight = self.norm_weight(key)?;
            let eps = self.config.rms_norm_eps();
            return self.add(|ops| ops.add_and_rms_norm([&stream.x, update], &weight, eps));
        }
        let x = self.sum(&stream)?;
        Ok([self.normed(&x, key)?, x])
    }

    fn sum(&mut self, Stream { x, update }: &Stream) -> Result<Value> {
        match update {
            Some(update) => self.add(|ops| ops.add(x, update)),
            None => Ok(x.clone()),
        }
    }

    /// RMS norm over the last axis.
    fn normed(&mut self, x: &str, key: &str) -> Result<Value> {
        let weight = self.norm_weight(key)?;
        let eps = self.config.rms_norm_eps();
        self.add(|ops| ops.rms_norm(x, &weight, eps))
    }

    fn norm_weight(&mut self, key: &str) -> Result<Value> {
        match self.weight(key)? {
            Named::F32(weight) => Ok(weight),
            _ => Err(failed("graph", format!("expected {key} in f32"))),
        }
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

    fn finish(self, span: &Span) -> Result<Built> {
        let outputs = self.outputs.iter();
        let outputs = outputs
            .map(|(name, shape)| outlet(name, TensorElementType::Float32, shape))
            .collect();
        let built = self
            .ops
            .finish(self.form.inputs(self.config, span), outputs);
        built.map_err(|error| failed("graph", error))
    }
}

/// Sizes are checked by [`ModelConfig`]: each is below 2^31.
fn signed(size: usize) -> i64 {
    size as i64
}
