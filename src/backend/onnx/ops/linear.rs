//! Linear layers of weights in f32, f16 and bf16.

use std::sync::Arc;

use ort::Result;
use ort::operator::Attribute;

use super::super::operators;
use super::super::panels::Panels;
use super::{CONTRIB, FLOAT16, Ops, Value};

impl Ops {
    /// Linear layers of the same rows `(T, in)`, each to rows `(T, out)`, by our own operator: their
    /// weights are of one kind.
    pub(in crate::backend::onnx) fn linears<const OUTPUTS: usize>(
        &mut self,
        weights: [&Arc<Panels>; OUTPUTS],
        x: &str,
    ) -> Result<[Value; OUTPUTS]> {
        let operator = weights
            .first()
            .map_or("", |weight| operators::product(weight.layout().element()));
        let outputs = [(); OUTPUTS].map(|()| self.fresh(operator));
        self.push_linear(operator, &weights, x, &outputs)?;
        Ok(outputs)
    }

    /// `silu(gate) * up` of two linear layers of the same rows, in int8.
    pub(in crate::backend::onnx) fn gated(
        &mut self,
        weights: [&Arc<Panels>; 2],
        x: &str,
    ) -> Result<Value> {
        let output = self.fresh(operators::GATED);
        self.push_linear(operators::GATED, &weights, x, std::slice::from_ref(&output))?;
        Ok(output)
    }

    fn push_linear(
        &mut self,
        operator: &str,
        weights: &[&Arc<Panels>],
        x: &str,
        outputs: &[Value],
    ) -> Result<()> {
        let index = self.groups.len() as i64;
        let attributes = vec![Attribute::new(operators::WEIGHTS, index)?];
        let weights = weights.iter().map(|&weight| Arc::clone(weight));
        self.groups.push(weights.collect());
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.push(operators::DOMAIN, operator, &[x], &outputs, attributes)
    }

    /// A linear layer `(out, in)` of rows `(T, in)` to columns `(out, T)`, by ONNX Runtime, which
    /// packs the right-hand operand of a product for each run.
    pub(in crate::backend::onnx) fn linear_to_columns(
        &mut self,
        weight: &str,
        x: &str,
    ) -> Result<Value> {
        let attributes = vec![Attribute::new("transB", 1i64)?];
        self.node_in(CONTRIB, "FusedMatMul", &[weight, x], attributes)
    }

    /// `weight @ x`: as [`linear_to_columns`](Self::linear_to_columns), of columns `(in, T)`.
    pub(in crate::backend::onnx) fn linear_of_columns(
        &mut self,
        weight: &str,
        x: &str,
    ) -> Result<Value> {
        self.node("MatMul", &[weight, x], vec![])
    }

    /// A linear layer in f16 of rows `(T, in)` and back, `(T, in)` to `(T, out)`. Not
    /// `FusedMatMul`, for which the processor has no f16 kernel.
    pub(in crate::backend::onnx) fn half_linear(&mut self, weight: &str, x: &str) -> Result<Value> {
        let x = self.cast(x, FLOAT16)?;
        let columns = self.transpose(&x, &[1, 0])?;
        let columns = self.linear_of_columns(weight, &columns)?;
        let rows = self.transpose(&columns, &[1, 0])?;
        self.widened(&rows)
    }
}
