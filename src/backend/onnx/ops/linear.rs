//! Linear layers of weights in f32 and f16.

use ort::Result;
use ort::operator::Attribute;

use super::{CONTRIB, FLOAT16, Ops, Value};

/// The side of a product on which a weight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Side {
    Left,
    Right,
}

impl Ops {
    /// A linear layer `(out, in)` of rows `(T, in)`: `weight @ x.T`, whose output stands in columns
    /// `(out, T)`, or `x @ weight.T`, whose output stands in rows `(T, out)`.
    pub(in crate::backend::onnx) fn linear(
        &mut self,
        weight: &str,
        x: &str,
        side: Side,
    ) -> Result<Value> {
        let attributes = vec![Attribute::new("transB", 1i64)?];
        let inputs = match side {
            Side::Left => [weight, x],
            Side::Right => [x, weight],
        };
        self.node_in(CONTRIB, "FusedMatMul", &inputs, attributes)
    }

    /// `weight @ x`: as [`linear`](Self::linear), of columns `(in, T)` to columns.
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
