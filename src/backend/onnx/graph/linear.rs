//! Linear layers, and the MLP of them.

use std::sync::Arc;

use super::super::ops::{Ops, Value};
use super::super::panels::Panels;
use super::super::weights::Weight;
use super::{Qwen3, failed};
use crate::error::Result;

/// The names of a weight in the graph.
pub(super) enum Named {
    /// Of an operator of our own, which does without.
    Panels(Arc<Panels>),
    F32(Value),
    F16(Value),
    /// The embedding table.
    Bf16(Value),
    /// The embedding table as integers, and their scales.
    Table([Value; 2]),
}

impl Qwen3<'_> {
    /// Rows `(_, hidden)` to rows `(_, hidden)`.
    pub(super) fn mlp(&mut self, layer: usize, x: &str) -> Result<Value> {
        let key = |name: &str| format!("layers.{layer}.mlp.{name}.weight");
        let first = [
            self.weight(&key("gate_proj"))?,
            self.weight(&key("up_proj"))?,
        ];
        let down = self.weight(&key("down_proj"))?;
        let gated = match (&first, &down) {
            ([Named::F32(gate), Named::F32(up)], Named::F32(down)) => {
                return self.add(|ops| mlp_f32(ops, x, [gate, up, down]));
            }
            ([Named::Panels(gate), Named::Panels(up)], _) if gate.gates(up) => {
                self.add(|ops| ops.gated([gate, up], x))?
            }
            _ => {
                let [gate, up] = self.linears(x, &first)?;
                self.add(|ops| {
                    let gate = ops.silu(&gate)?;
                    ops.mul(&gate, &up)
                })?
            }
        };
        self.linear(&gated, &down)
    }

    /// `(_, in)` to `(_, out)` by the weight of each key.
    pub(super) fn projected<const KEYS: usize>(
        &mut self,
        x: &str,
        keys: [String; KEYS],
    ) -> Result<[Value; KEYS]> {
        let weights = keys.iter().map(|key| self.weight(key));
        let weights = weights.collect::<Result<Vec<_>>>()?;
        self.linears(x, &weights)
    }

    /// `(_, in)` to `(_, out)` by each of so many weights, at once if an operator of our own does it.
    fn linears<const OUTPUTS: usize>(
        &mut self,
        x: &str,
        weights: &[Named],
    ) -> Result<[Value; OUTPUTS]> {
        let element = match weights.first() {
            Some(Named::Panels(panels)) => Some(panels.layout().element()),
            _ => None,
        };
        let panels = weights.iter().filter_map(|weight| match weight {
            Named::Panels(panels) => (Some(panels.layout().element()) == element).then_some(panels),
            _ => None,
        });
        if let Ok(panels) = <[_; OUTPUTS]>::try_from(panels.collect::<Vec<_>>()) {
            return self.add(|ops| ops.linears(panels, x));
        }
        let mut outputs = [const { Value::new() }; OUTPUTS];
        for (output, weight) in outputs.iter_mut().zip(weights) {
            *output = self.linear(x, weight)?;
        }
        Ok(outputs)
    }

    /// `(_, in)` to `(_, out)`.
    fn linear(&mut self, x: &str, weight: &Named) -> Result<Value> {
        match weight {
            Named::Panels(weight) => {
                let [output] = self.add(|ops| ops.linears([weight], x))?;
                Ok(output)
            }
            Named::F32(weight) => self.add(|ops| {
                let columns = ops.linear_to_columns(weight, x)?;
                ops.transpose(&columns, &[1, 0])
            }),
            Named::F16(weight) => self.add(|ops| ops.half_linear(weight, x)),
            Named::Bf16(weight) | Named::Table([weight, _]) => {
                let message = format!("expected {weight} as a linear layer, found a table");
                Err(failed("graph", message))
            }
        }
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
                Weight::Table([values, by]) => {
                    Named::Table([ops.weight(key, values)?, ops.weight(&scales, by)?])
                }
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
