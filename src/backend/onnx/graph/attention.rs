//! The attention of one layer.

use super::super::ops::Axis::{Any, Of};
use super::super::ops::{Attending, Value};
use super::{
    COSINES, Form, KEPT, KEY_POSITIONS, LAST_TOKENS, POSITION_IDS, Qwen3, Rows, SINES, past_names,
    signed,
};
use crate::error::Result;

impl Qwen3<'_> {
    /// `(T, hidden)` to itself, or to `(B, hidden)`.
    pub(super) fn self_attn(&mut self, layer: usize, x: &str, rows: Rows) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.self_attn.{name}.weight");
        let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(key);
        let [queries, keys, values] = match rows {
            Rows::All => self.projected(x, [q, k, v])?,
            Rows::Last => {
                let [keys, values] = self.projected(x, [k, v])?;
                let asking = self.add(|ops| ops.gather(x, LAST_TOKENS))?;
                let [queries] = self.projected(&asking, [q])?;
                [queries, keys, values]
            }
        };
        let [keys, values] = self.keys_and_values(layer, [&keys, &values])?;
        let heads = self.config.num_attention_heads();
        let queries = self.head_normed(&queries, &key("q_norm"), heads)?;
        let output = match rows {
            Rows::All => self.attention_of_all(&queries, [&keys, &values]),
            Rows::Last => self.attention_of_last(&queries, [&keys, &values]),
        }?;
        let columns = signed(self.config.query_size());
        let output = self.add(|ops| ops.reshape(&output, &[-1, columns]))?;
        let [output] = self.projected(&output, [key("o_proj")])?;
        Ok(output)
    }

    /// Of rows `(T, KV * D)`, as `(B, L, KV * D)`; with those of a past, `(B, S, KV * D)`.
    fn keys_and_values(&mut self, layer: usize, both: [&str; 2]) -> Result<[Value; 2]> {
        let key = |name: &str| format!("layers.{layer}.self_attn.{name}.weight");
        let [_, kv_heads] = self.heads();
        let [keys, values] = both;
        let kv = self.config.num_key_value_heads();
        let keys = self.head_normed(keys, &key("k_norm"), kv)?;
        let shape = self.keys_shape.clone();
        let both = self.add(|ops| {
            let keys = ops.reshape_to(&keys, &shape)?;
            let keys = ops.rope(&keys, [COSINES, SINES], POSITION_IDS, kv_heads)?;
            Ok([keys, ops.reshape_to(values, &shape)?])
        })?;
        match self.form.has_past() {
            true => self.after_past(layer, &both),
            false => Ok(both),
        }
    }

    /// Puts the layer's past, repeated for each sequence, before its keys and values, and makes
    /// outputs `(1, kept, KV * D)` of the first of these.
    fn after_past(&mut self, layer: usize, both: &[Value; 2]) -> Result<[Value; 2]> {
        let columns = Of(signed(self.config.key_value_size()));
        let kept_shape = [Any, Any, columns];
        let shape = self.past_shape.clone();
        let mut all = [Value::new(), Value::new()];
        for ((past, these), all) in past_names(layer).iter().zip(both).zip(&mut all) {
            let kept = self.add(|ops| {
                let past = ops.expand(past, &shape)?;
                *all = ops.concat(&[&past, these], 1)?;
                ops.beginning(these, KEPT, 2)
            })?;
            self.outputs.push((kept, kept_shape.to_vec()));
        }
        Ok(all)
    }

    /// Queries `(T, H * D)` to `(B, L, H * D)`.
    fn attention_of_all(&mut self, queries: &str, keys_and_values: [&str; 2]) -> Result<Value> {
        let (heads, shape, form) = (self.heads(), self.queries_shape.clone(), self.form);
        self.add(|ops| {
            let queries = ops.reshape_to(queries, &shape)?;
            let queries = ops.rope(&queries, [COSINES, SINES], POSITION_IDS, heads[0])?;
            let attending = Attending {
                queries: &queries,
                keys_and_values,
                heads,
            };
            match form {
                Form::Short | Form::Long => ops.causal_attention(&attending),
                Form::Whole => ops.attention(&attending, None),
            }
        })
    }

    /// Queries `(B, H * D)` to `(B, 1, H * D)`. A last token may attend to all tokens of its
    /// sequence, but not to padding, which stands at later positions.
    fn attention_of_last(&mut self, queries: &str, keys_and_values: [&str; 2]) -> Result<Value> {
        let (heads, columns) = (self.heads(), signed(self.config.query_size()));
        self.add(|ops| {
            let positions = ops.reshape(POSITION_IDS, &[-1])?;
            let last = ops.gather(&positions, LAST_TOKENS)?;
            let last = ops.unsqueeze(&last, &[1])?; // (B, 1)
            let queries = ops.reshape(queries, &[-1, 1, columns])?;
            let queries = ops.rope(&queries, [COSINES, SINES], &last, heads[0])?;
            let allowed = ops.less_or_equal(KEY_POSITIONS, &last)?; // (B, S)
            let allowed = ops.unsqueeze(&allowed, &[1, 2])?; // (B, 1, 1, S)
            let attending = Attending {
                queries: &queries,
                keys_and_values,
                heads,
            };
            ops.attention(&attending, Some(&allowed))
        })
    }
}
