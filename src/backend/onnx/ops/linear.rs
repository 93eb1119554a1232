//! Linear layers of weights in f32, f16 and bf16.

use std::sync::Arc;

use ort::Result;
use ort::operator::Attribute;

use super::super::panels::{self, Panels};
use super::{CONTRIB, FLOAT16, Ops, Value};

impl Ops {
    /// A linear layer of rows `(T, in)` to rows `(T, out)`, by our own operator.
    pub(in crate::backend::onnx) fn linear(
        &mut self,
        weight: Arc<Panels>,
        x: &str,
    ) -> Result<Value> {
        let index = self.panels.len() as i64;
        let attributes = vec![Attribute::new(panels::WEIGHT, index)?];
        let operator = weight.operator();
        self.panels.push(weight);
        self.node_in(panels::DOMAIN, operator, &[x], attributes)
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
