//! Attention and the rotary embedding before it.

use ort::Result;
use ort::operator::Attribute;

use super::{CONTRIB, Ops, Value};

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
            Attribute::new("kv_num_heads", kv_heads)?,
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

    /// As [`attention`](Self::attention), causal and without a past, by ONNX Runtime's own operator,
    /// which goes through the keys in blocks and stores no scores; `columns` are H * D.
    pub(in crate::backend::onnx) fn grouped(
        &mut self,
        attending: &Attending<'_>,
        columns: i64,
        [last_keys, total_keys]: [&str; 2],
    ) -> Result<Value> {
        let [keys, values] = attending.keys_and_values;
        let inputs = [
            attending.queries,
            keys,
            values,
            "",
            "",
            last_keys,
            total_keys,
        ];
        let attributes = attending.attributes("num_heads")?;
        let output = self.fresh("GroupQueryAttention");
        // Keys and values (B, KV, L, D) to come. Without them it would store scores.
        let [keys, values] = [self.fresh("keys"), self.fresh("values")];
        let outputs = [&*output, &keys, &values];
        self.push(
            CONTRIB,
            "GroupQueryAttention",
            &inputs,
            &outputs,
            attributes,
        )?;
        // ONNX Runtime frees an array after the last that reads it, and one that nobody reads, after
        // the run: those of all layers. So both tell the output's shape, which it has anyway.
        let (sequences, tokens) = (self.axis(&keys, 0)?, self.axis(&values, 2)?);
        let columns = self.constant(&[columns])?;
        let shape = self.concat(&[&sequences, &tokens, &columns], 0)?;
        self.reshape_to(&output, &shape)
    }
}
