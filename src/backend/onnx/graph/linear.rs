//! Linear layers of f32, f16, bf16 or int8 weights, and the MLP of them.

use std::sync::Arc;

use super::super::ops::{Ops, QuantizedRows, Stored, Value};
use super::super::panels::Panels;
use super::super::weights::Weight;
use super::{LAST_TOKENS, POSITION_IDS, Qwen3, Rows, failed};
use crate::error::Result;

/// Rows that linear layers read; quantised once, for the first of them that is int8.
pub(super) struct Input {
    rows: Value, // (T, in), or (B, in) of last tokens
    of: Rows,
    quantized: Option<QuantizedRows>,
}

impl Input {
    pub(super) fn new(rows: Value, of: Rows) -> Self {
        Self {
            rows,
            of,
            quantized: None,
        }
    }
}

/// The names of a weight in the graph.
pub(super) enum Named {
    /// Of our own operator, which does without.
    Panels(Arc<Panels>),
    F32(Value),
    F16(Value),
    /// The embedding table.
    Bf16(Value),
    /// Integers and their scales.
    Quantized([Value; 2]),
}

impl Qwen3<'_> {
    /// Rows `(_, hidden)` to rows `(_, hidden)`.
    pub(super) fn mlp(&mut self, layer: usize, mut x: Input) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.mlp.{name}.weight");
        let gate = self.weight(&key("gate_proj"))?;
        let up = self.weight(&key("up_proj"))?;
        let down = self.weight(&key("down_proj"))?;
        match (&gate, &up, &down) {
            (Named::F32(gate), Named::F32(up), Named::F32(down)) => {
                return self.add(|ops| mlp_f32(ops, &x.rows, [gate, up, down]));
            }
            (Named::Quantized(gate), Named::Quantized(up), Named::Quantized(down)) => {
                let zero_points = self.zero_points(x.of)?;
                let weights = [gate, up, down];
                return self.add(|ops| mlp_int8(ops, &x.rows, &zero_points, weights));
            }
            _ => {}
        }
        let (gate, up) = (self.linear(&mut x, &gate)?, self.linear(&mut x, &up)?);
        let gated = self.add(|ops| {
            let gate = ops.silu(&gate)?;
            ops.mul(&gate, &up)
        })?;
        self.linear(&mut Input::new(gated, x.of), &down)
    }

    /// `(_, in)` to `(_, out)` by the weight of this key.
    pub(super) fn projected(&mut self, x: &mut Input, key: &str) -> Result<Value> {
        let weight = self.weight(key)?;
        self.linear(x, &weight)
    }

    /// `(_, in)` to `(_, out)`.
    fn linear(&mut self, x: &mut Input, weight: &Named) -> Result<Value> {
        let weight = match weight {
            Named::Quantized(weight) => weight,
            Named::Panels(weight) => {
                return self.add(|ops| ops.linear(Arc::clone(weight), &x.rows));
            }
            Named::F32(weight) => {
                return self.add(|ops| {
                    let columns = ops.linear_to_columns(weight, &x.rows)?;
                    ops.transpose(&columns, &[1, 0])
                });
            }
            Named::F16(weight) => return self.add(|ops| ops.half_linear(weight, &x.rows)),
            Named::Bf16(weight) => {
                let message = format!("expected {weight} in f32, f16 or int8, found bf16");
                return Err(failed("graph", message));
            }
        };
        let zero_points = self.zero_points(x.of)?;
        self.add(|ops| {
            let quantized = match x.quantized.take() {
                Some(quantized) => quantized,
                None => ops.quantize_rows(&x.rows, &zero_points)?,
            };
            ops.linear_int8(x.quantized.insert(quantized), weight)
        })
    }

    fn zero_points(&mut self, of: Rows) -> Result<Value> {
        let (place, like) = match of {
            Rows::All => (0, POSITION_IDS),
            Rows::Last => (1, LAST_TOKENS),
        };
        if let Some(points) = &self.zero_points[place] {
            return Ok(points.clone());
        }
        let points = self.add(|ops| {
            let flat = ops.reshape(like, &[-1])?;
            ops.zero_points(&flat)
        })?;
        Ok(self.zero_points[place].insert(points).clone())
    }

    pub(super) fn weight(&mut self, key: &str) -> Result<Named> {
        let weight = self.weights.take(key)?;
        let scales = format!("{key}.scales");
        self.add(|ops| {
            Ok(match weight {
                Weight::Panels(panels) => Named::Panels(panels),
                Weight::F32(array) => Named::F32(ops.weight(key, array)?),
                Weight::F16(array) => Named::F16(ops.weight(key, array)?),
                Weight::Bf16(array) => Named::Bf16(ops.weight(key, array)?),
                Weight::Quantized([values, by]) => Named::Quantized([
                    ops.weight(key, Stored::Initializer(values))?,
                    ops.weight(&scales, Stored::Initializer(by))?,
                ]),
            })
        })
    }
}

/// Between its matrices, activations stand in columns: nothing is transposed but the result.
fn mlp_f32(ops: &mut Ops, x: &str, [gate, up, down]: [&Value; 3]) -> ort::Result<Value> {
    let gate = ops.linear_to_columns(gate, x)?;
    let gate = ops.silu(&gate)?;
    let up = ops.linear_to_columns(up, x)?;
    let gated = ops.mul(&gate, &up)?;
    let transformed = ops.linear_of_columns(down, &gated)?;
    ops.transpose(&transformed, &[1, 0])
}

/// The scales of the rows that `up` reads are left to what `down` gives: quantisation of a row does
/// not see its scale, and `down` has fewer outputs.
fn mlp_int8(
    ops: &mut Ops,
    x: &str,
    zero_points: &str,
    [gate, up, down]: [&[Value; 2]; 3],
) -> ort::Result<Value> {
    let x = ops.quantize_rows(x, zero_points)?;
    let gate = ops.linear_int8(&x, gate)?;
    let gate = ops.silu(&gate)?;
    let up = ops.unscaled_int8(&x, up)?;
    let gated = ops.mul(&gate, &up)?;
    let gated = ops.quantize_rows(&gated, zero_points)?;
    let gated = ops.rescaled(gated, &x)?;
    ops.linear_int8(&gated, down)
}
