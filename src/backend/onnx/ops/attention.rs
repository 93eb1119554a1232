//! Attention and the rotary embedding before it.

use ort::Result;
use ort::operator::Attribute;

use super::super::operators;
use super::{Ops, Value};

/// What attention reads: queries `(B, L, H * D)`, keys and values `(B, L, KV * D)`.
pub(in crate::backend::onnx) struct Attending<'a> {
    pub(in crate::backend::onnx) queries: &'a str,
    pub(in crate::backend::onnx) keys_and_values: [&'a str; 2],
    /// H and KV.
    pub(in crate::backend::onnx) heads: [i64; 2],
}

impl Attending<'_> {
    /// The numbers of heads; operators differ in what they call the queries'.
    fn attributes(&self, queries: &str) -> Result<Vec<Attribute>> {
        let [heads, kv_heads] = self.heads;
        Ok(vec![
            Attribute::new(queries, heads)?,
            Attribute::new(operators::KEY_VALUE_HEADS, kv_heads)?,
        ])
    }
}

impl Ops {
    /// Half-split rotary embedding of `(B, L, heads * D)` by the rows `positions` of the tables.
    pub(in crate::backend::onnx) fn rope(
        &mut self,
        x: &str,
        [cos, sin]: [&str; 2],
        positions: &str,
        heads: i64,
    ) -> Result<Value> {
        let attributes = vec![Attribute::new("num_heads", heads)?];
        self.node("RotaryEmbedding", &[x, cos, sin, positions], attributes)
    }

    /// Attention scaled by `1 / sqrt(D)`, to `(B, L, H * D)`, by the standard operator, which
    /// stores all scores: `(B, H, L, S)`. Without `allowed`, a boolean array that broadcasts to the
    /// scores, it is causal.
    pub(in crate::backend::onnx) fn attention(
        &mut self,
        attending: &Attending<'_>,
        allowed: Option<&str>,
    ) -> Result<Value> {
        let [keys, values] = attending.keys_and_values;
        let mut attributes = attending.attributes("q_num_heads")?;
        let mut inputs = vec![attending.queries, keys, values];
        match allowed {
            Some(allowed) => inputs.push(allowed),
            None => attributes.push(Attribute::new("is_causal", 1i64)?),
        }
        self.node("Attention", &inputs, attributes)
    }

    /// As [`attention`](Self::attention), causal, by our own operator, which stores no scores. Keys and
    /// values `(B, S, KV * D)` may be of more tokens than the queries, which are the last then.
    pub(in crate::backend::onnx) fn causal_attention(
        &mut self,
        attending: &Attending<'_>,
    ) -> Result<Value> {
        let [keys, values] = attending.keys_and_values;
        let attributes = attending.attributes(operators::HEADS)?;
        let inputs = [attending.queries, keys, values];
        self.node_in(operators::DOMAIN, operators::CAUSAL, &inputs, attributes)
    }
}
