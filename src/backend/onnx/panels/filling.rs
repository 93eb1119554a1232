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
    let elements = layout.rows_of_chunk() * layout.inputs();
    match layout.element() {
        Element::Bf16 => {
            let mut chunks = cast_slice_mut(memory).chunks_mut((elements / 2).max(1));
            let mut copy = Vec::with_capacity(elements);
            each_chunk(weight, elements, |bytes| {
                // Memory is read in order, which it need not wait for.
                copy.clear();
                copy.extend_from_slice(bytes.as_chunks().0);
                layout.put_bf16(&copy, chunks.next().unwrap_or_default());
            })
        }
        Element::F32 => {
            let mut chunks = cast_slice_mut(memory).chunks_mut(elements.max(1));
            each_chunk_in_f32(weight, elements, |values| {
                layout.put_f32(values, chunks.next().unwrap_or_default());
            })
        }
    }
}

/// Calls `put` with the bytes of so many elements after one another.
fn each_chunk(weight: &Weight<'_>, elements: usize, mut put: impl FnMut(&[u8])) -> Result<()> {
    let bytes = (elements * weight.tensor.dtype().size()).max(1);
    let window = (WINDOW / bytes).max(1) * bytes;
    weight.tensor.for_each_block(window, |window| {
        window.chunks(bytes).for_each(&mut put);
        Ok(())
    })
}

/// As [`each_chunk`], with the elements.
fn each_chunk_in_f32(
    weight: &Weight<'_>,
    elements: usize,
    mut put: impl FnMut(&[f32]),
) -> Result<()> {
    let mut values = Vec::with_capacity(elements);
    if weight.packed.is_none() {
        let dtype = weight.tensor.dtype();
        return each_chunk(weight, elements, |bytes| {
            values.resize(bytes.len() / dtype.size(), 0.0);
            dtype.fill(bytes, &mut values, |value| value);
            put(&values);
        });
    }
    weight.for_each(|value| {
        values.push(value);
        if values.len() == elements {
            put(&values);
            values.clear();
        }
    })?;
    if !values.is_empty() {
        put(&values);
    }
    Ok(())
}
