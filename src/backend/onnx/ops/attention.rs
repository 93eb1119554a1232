//! Attention and the rotary embedding before it.

use ort::Result;
use ort::operator::Attribute;

use super::super::operators;
use super::{Ops, Value};

/// What attends to what.
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

/// What [`Ops::causal_attention`] reads.
pub(in crate::backend::onnx) struct Causal<'a> {
    /// Queries `(T, H * D)`, keys and values `(T, KV * D)`.
    pub(in crate::backend::onnx) attending: Attending<'a>,
    /// Weights `(D)` of the norms of queries and of keys.
    pub(in crate::backend::onnx) norms: [&'a str; 2],
    pub(in crate::backend::onnx) eps: f32,
    /// Cosines and sines `(positions, D / 2)`.
    pub(in crate::backend::onnx) angles: [&'a str; 2],
    /// `(B, L)`, of which only the shape is read: positions follow one another, behind the past.
    pub(in crate::backend::onnx) positions: &'a str,
    /// Where among the T the only token of each sequence stands that asks, as `(B)`: queries are
    /// `(B, H * D)` then.
    pub(in crate::backend::onnx) last: Option<&'a str>,
    /// Keys and values that all sequences share, each `(1, P, KV * D)`, and of how many tokens of the
    /// first sequence they are given out `(1)`, which only goes without a past.
    pub(in crate::backend::onnx) past: Option<[&'a str; 3]>,
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

    /// Attention of queries `(B, L, H * D)` to keys and values `(B, S, KV * D)`, scaled by
    /// `1 / sqrt(D)`, to `(B, L, H * D)`, by the standard operator, which stores all scores:
    /// `(B, H, L, S)`. Without `allowed`, a boolean array that broadcasts to the scores, it is causal.
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

    /// Causal attention by our own operator, which norms and turns queries and keys and stores no scores:
    /// to rows as the queries, and, behind a past, the keys and values `(1, kept, KV * D)` that are given
    /// out.
    pub(in crate::backend::onnx) fn causal_attention(
        &mut self,
        causal: &Causal<'_>,
    ) -> Result<[Value; 3]> {
        let [keys, values] = causal.attending.keys_and_values;
        let [q_norm, k_norm] = causal.norms;
        let [cosines, sines] = causal.angles;
        let [past_keys, past_values, kept] = causal.past.unwrap_or_default();
        let inputs = [
            causal.attending.queries,
            keys,
            values,
            q_norm,
            k_norm,
            cosines,
            sines,
            causal.positions,
            causal.last.unwrap_or_default(),
            past_keys,
            past_values,
            kept,
        ];
        let mut attributes = causal.attending.attributes(operators::HEADS)?;
        attributes.push(Attribute::new(operators::EPSILON, causal.eps)?);
        let output = self.fresh(operators::CAUSAL);
        let kept = match causal.past {
            Some(_) => ["Keys", "Values"].map(|kind| self.fresh(kind)),
            None => Default::default(),
        };
        let outputs = [&*output, &*kept[0], &*kept[1]];
        let (domain, operator) = (operators::DOMAIN, operators::CAUSAL);
        self.push(domain, operator, &inputs, &outputs, attributes)?;
        let [keys, values] = kept;
        Ok([output, keys, values])
    }
}
