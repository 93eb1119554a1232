//! The attention of one layer.

use super::super::ops::Axis::{Any, Of};
use super::super::ops::{Attending, Causal, Ops, Value};
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
        let projected = match rows {
            Rows::All => self.projected(x, [q, k, v])?,
            Rows::Last => {
                let [keys, values] = self.projected(x, [k, v])?;
                let asking = self.add(|ops| ops.gather(x, LAST_TOKENS))?;
                let [queries] = self.projected(&asking, [q])?;
                [queries, keys, values]
            }
        };
        let [q_norm, k_norm] = ["q_norm", "k_norm"].map(|name| self.norm_weight(&key(name)));
        let norms = [q_norm?, k_norm?];
        let output = match self.form {
            Form::Short | Form::Long => self.causal_attention(layer, &projected, &norms, rows),
            Form::Whole => self.standard_attention(&projected, &norms, rows),
        }?;
        let [output] = self.projected(&output, [key("o_proj")])?;
        Ok(output)
    }

    /// By our own operator, to rows as the queries. After a past it makes outputs `(1, kept, KV * D)` of
    /// the first of the keys and values.
    fn causal_attention(
        &mut self,
        layer: usize,
        [queries, keys, values]: &[Value; 3],
        [q_norm, k_norm]: &[Value; 2],
        rows: Rows,
    ) -> Result<Value> {
        let [past_keys, past_values] = past_names(layer);
        let causal = Causal {
            attending: Attending {
                queries,
                keys_and_values: [keys, values],
                heads: self.heads(),
            },
            norms: [q_norm, k_norm],
            eps: self.config.rms_norm_eps(),
            angles: [COSINES, SINES],
            positions: POSITION_IDS,
            last: (rows == Rows::Last).then_some(LAST_TOKENS),
            past: (self.form.has_past()).then_some([&past_keys, &past_values, KEPT]),
        };
        let [output, kept @ ..] = self.add(|ops| ops.causal_attention(&causal))?;
        if self.form.has_past() {
            let shape = [Any, Any, Of(signed(self.config.key_value_size()))];
            self.outputs.extend(kept.map(|kept| (kept, shape.to_vec())));
        }
        Ok(output)
    }

    /// By the standard operators, to rows as the queries.
    fn standard_attention(
        &mut self,
        [queries, keys, values]: &[Value; 3],
        norms: &[Value; 2],
        rows: Rows,
    ) -> Result<Value> {
        let (heads, eps) = (self.heads(), self.config.rms_norm_eps());
        let head = signed(self.config.head_dim());
        let [columns, of_keys] =
            [self.config.query_size(), self.config.key_value_size()].map(signed);
        self.add(|ops| {
            let keys = head_normed(ops, keys, &norms[1], [heads[1], head], eps)?;
            let shape = ops.shape_and(POSITION_IDS, 2, &[of_keys])?;
            let keys = ops.reshape_to(&keys, &shape)?; // (B, L, KV * D)
            let keys = ops.rope(&keys, [COSINES, SINES], POSITION_IDS, heads[1])?;
            let values = ops.reshape_to(values, &shape)?;
            let queries = head_normed(ops, queries, &norms[0], [heads[0], head], eps)?;
            let attending = |queries| Attending {
                queries,
                keys_and_values: [&keys, &values],
                heads,
            };
            let output = match rows {
                Rows::All => {
                    let shape = ops.shape_and(POSITION_IDS, 2, &[columns])?;
                    let queries = ops.reshape_to(&queries, &shape)?; // (B, L, H * D)
                    let queries = ops.rope(&queries, [COSINES, SINES], POSITION_IDS, heads[0])?;
                    ops.attention(&attending(&queries), None)
                }
                Rows::Last => {
                    let queries = ops.reshape(&queries, &[-1, 1, columns])?; // (B, 1, H * D)
                    let last = last_positions(ops)?;
                    let queries = ops.rope(&queries, [COSINES, SINES], &last, heads[0])?;
                    let allowed = ops.less_or_equal(KEY_POSITIONS, &last)?; // (B, L)
                    let allowed = ops.unsqueeze(&allowed, &[1, 2])?; // (B, 1, 1, L)
                    ops.attention(&attending(&queries), Some(&allowed))
                }
            };
            ops.reshape(&output?, &[-1, columns])
        })
    }
}

/// Place of each sequence's last token in it `(B, 1)`. It may attend to all tokens of its sequence, but not
/// to padding, which stands at later positions.
fn last_positions(ops: &mut Ops) -> ort::Result<Value> {
    let positions = ops.reshape(POSITION_IDS, &[-1])?;
    let last = ops.gather(&positions, LAST_TOKENS)?;
    ops.unsqueeze(&last, &[1])
}

/// RMS norm of each head of `(T, heads * D)`, as `(T, heads, D)`.
fn head_normed(
    ops: &mut Ops,
    x: &str,
    weight: &str,
    [heads, head]: [i64; 2],
    eps: f32,
) -> ort::Result<Value> {
    let x = ops.reshape(x, &[-1, heads, head])?;
    ops.rms_norm(&x, weight, eps)
}
