//! A checkpoint's matrix into the order in which it is multiplied by.

use bytemuck::cast_slice_mut;
use linear::{Element, Layout};

use crate::checkpoint::Weight;
use crate::dtype::Dtype;
use crate::error::Result;

/// Bytes of a checkpoint that are mapped at a time.
const WINDOW: usize = 8 << 20;

/// How the matrix is to lie: in bf16 where the checkpoint has it so, else in f32. `None` of what is
/// none.
pub(in crate::backend::onnx) fn layout(weight: &Weight<'_>) -> Option<Layout> {
    let &[outputs, inputs] = &*weight.shape() else {
        return None;
    };
    let element = match (weight.tensor.dtype(), &weight.packed) {
        (Dtype::Bf16, None) => Element::Bf16,
        _ => Element::F32,
    };
    Layout::new([outputs, inputs], element)
}

/// Writes the matrix to memory of zeros.
pub(in crate::backend::onnx) fn fill(
    layout: &Layout,
    weight: &Weight<'_>,
    memory: &mut [u8],
) -> Result<()> {
    let dtype = weight.tensor.dtype();
    let elements = layout.rows_of_chunk() * layout.inputs();
    let bytes = (elements * dtype.size()).max(1);
    let window = (WINDOW / bytes).max(1) * bytes;
    if layout.element() == Element::Bf16 {
        let mut chunks = cast_slice_mut(memory).chunks_mut((elements / 2).max(1));
        let mut copy = Vec::with_capacity(elements);
        return weight.tensor.for_each_block(window, |window| {
            for (rows, chunk) in window.chunks(bytes).zip(&mut chunks) {
                // Memory is read in order, which it need not wait for.
                copy.clear();
                copy.extend_from_slice(rows.as_chunks().0);
                layout.put_bf16(&copy, chunk);
            }
            Ok(())
        });
    }
    let mut chunks = cast_slice_mut(memory).chunks_mut(elements.max(1));
    let mut values = Vec::with_capacity(elements);
    if weight.packed.is_none() {
        return weight.tensor.for_each_block(window, |window| {
            for (rows, chunk) in window.chunks(bytes).zip(&mut chunks) {
                values.resize(rows.len() / dtype.size(), 0.0);
                dtype.fill(rows, &mut values, |value| value);
                layout.put_f32(&values, chunk);
            }
            Ok(())
        });
    }
    let mut put = |values: &mut Vec<f32>| {
        let chunk = chunks.next().unwrap_or_default();
        layout.put_f32(values, chunk);
        values.clear();
    };
    weight.for_each(|value| {
        values.push(value);
        if values.len() == elements {
            put(&mut values);
        }
    })?;
    if !values.is_empty() {
        put(&mut values);
    }
    Ok(())
}
