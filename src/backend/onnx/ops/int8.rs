//! Linear layers of int8 weights and of rows that are quantised as they come.

use std::fmt::Debug;

use ort::Result;
use ort::operator::Attribute;
use ort::value::PrimitiveTensorElementType;

use super::super::array::StoredArray;
use super::super::pages;
use super::{CONTRIB, Ops, Value};

/// Int8 weights as [`Ops::linear_int8`] reads them on this processor; see [`weights_are_bytes`].
pub(in crate::backend::onnx) fn int8_array(
    shape: [usize; 2],
    values: impl Iterator<Item = i8>,
) -> Result<StoredArray> {
    fn array<T: PrimitiveTensorElementType + Debug>(
        shape: [usize; 2],
        values: impl Iterator<Item = T>,
    ) -> Result<StoredArray> {
        let mut array = pages::array::<T>(shape)?;
        let places = array.extract_tensor_mut().1.iter_mut();
        places.zip(values).for_each(|(place, value)| *place = value);
        Ok(array.into())
    }
    match weights_are_bytes() {
        true => array(shape, values.map(|value| value.cast_unsigned() ^ 0x80)),
        false => array(shape, values),
    }
}

/// Whether int8 weights stand in a graph as bytes of which 128 is zero, as rows do, and not as they
/// are: on x86 without VNNI. There ONNX Runtime multiplies bytes by signed ones faster, but loses
/// sums beyond 16 bits; bytes by bytes it multiplies exactly.
pub(in crate::backend::onnx) fn weights_are_bytes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return !(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"));
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Rows in int8.
pub(in crate::backend::onnx) struct QuantizedRows {
    bytes: Value,  // (T, in), 128 is zero
    scales: Value, // (T, 1)
}

impl Ops {
    /// Each row's zero point, for as many rows as `x` has on its first axis.
    pub(in crate::backend::onnx) fn zero_points(&mut self, x: &str) -> Result<Value> {
        let rows = self.axis(x, 0)?;
        let zero = self.zero_point()?;
        self.node("Expand", &[&zero, &rows], vec![])
    }

    /// Each row of `(T, in)` as bytes of its own scale. Rows do not share one: a row's result would
    /// depend on the others, and be coarse beside one large row.
    pub(in crate::backend::onnx) fn quantize_rows(
        &mut self,
        x: &str,
        zero_points: &str,
    ) -> Result<QuantizedRows> {
        let magnitudes = self.node("Abs", &[x], vec![])?;
        let axis = self.constant(&[1])?;
        let flat = vec![Attribute::new("keepdims", 0i64)?];
        let largest = self.node("ReduceMax", &[&magnitudes, &axis], flat)?;
        let step = self.scalar("step", 1.0_f32 / 127.0)?;
        let scales = self.mul(&largest, &step)?;
        let by_row = vec![Attribute::new("axis", 0i64)?];
        let bytes = self.node("QuantizeLinear", &[x, &scales, zero_points], by_row)?;
        let scales = self.unsqueeze(&scales, &[1])?; // (T, 1)
        Ok(QuantizedRows { bytes, scales })
    }

    /// The same rows, their scales times those of `by`.
    pub(in crate::backend::onnx) fn rescaled(
        &mut self,
        rows: QuantizedRows,
        by: &QuantizedRows,
    ) -> Result<QuantizedRows> {
        let scales = self.mul(&rows.scales, &by.scales)?;
        Ok(QuantizedRows { scales, ..rows })
    }

    /// A linear layer of int8 weights `(in, out)`, each output with its scale; see
    /// [`weights_are_bytes`].
    pub(in crate::backend::onnx) fn linear_int8(
        &mut self,
        x: &QuantizedRows,
        weight: &[Value; 2],
    ) -> Result<Value> {
        let product = self.unscaled_int8(x, weight)?;
        self.mul(&product, &x.scales)
    }

    /// As [`linear_int8`](Self::linear_int8), but for the scales of the rows.
    pub(in crate::backend::onnx) fn unscaled_int8(
        &mut self,
        x: &QuantizedRows,
        [weight, scales]: &[Value; 2],
    ) -> Result<Value> {
        let (one, zero) = (self.scalar("one", 1.0_f32)?, self.zero_point()?);
        let mut inputs = vec![x.bytes.as_str(), weight, &one, scales, &zero];
        if weights_are_bytes() {
            inputs.push(&zero);
        }
        self.node_in(CONTRIB, "MatMulIntegerToFloat", &inputs, vec![])
    }

    /// Rows of a table `(rows, columns)` of integers, each row with its scale.
    pub(in crate::backend::onnx) fn gather_scaled(
        &mut self,
        [table, scales]: [&str; 2],
        ids: &str,
    ) -> Result<Value> {
        let rows = self.gather(table, ids)?;
        let rows = self.widened(&rows)?;
        let scales = self.gather(scales, ids)?;
        let scales = self.unsqueeze(&scales, &[1])?;
        self.mul(&rows, &scales)
    }

    /// Where 0 stands among the bytes of a quantised row.
    fn zero_point(&mut self) -> Result<Value> {
        self.scalar("zero_point", 128_u8)
    }
}
