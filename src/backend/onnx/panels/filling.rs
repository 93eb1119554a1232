//! A checkpoint's matrix into the order in which it is multiplied by.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use bytemuck::cast_slice_mut;
use kernels::{Element, Layout};

use crate::backend::side_by_side;
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
    let mut chunks = memory.chunks_mut(layout.bytes_of_chunk().max(1));
    match layout.element() {
        Element::Bf16 => {
            let mut copy = Vec::with_capacity(elements);
            each_chunk(weight, elements, |bytes| {
                // Memory is read in order, which it need not wait for.
                copy.clear();
                copy.extend_from_slice(bytes.as_chunks().0);
                let chunk = chunks.next().unwrap_or_default();
                layout.put_bf16(&copy, cast_slice_mut(chunk));
            })
        }
        Element::F32 | Element::Int8 => each_chunk_in_f32(weight, elements, |values| {
            layout.put(values, chunks.next().unwrap_or_default());
        }),
    }
}

/// Writes a matrix that is in f32 to memory of zeros.
pub(in crate::backend::onnx) fn put(layout: &Layout, matrix: &[f32], memory: &mut [u8]) {
    let rows = matrix.chunks((layout.rows_of_chunk() * layout.inputs()).max(1));
    let chunks = memory.chunks_mut(layout.bytes_of_chunk().max(1));
    let chunks: Vec<_> = rows.zip(chunks).map(Mutex::new).collect();
    let Ok(_) = side_by_side::each(&chunks, |chunk| {
        let (rows, chunk) = &mut *chunk.lock().unwrap_or_else(PoisonError::into_inner);
        layout.put(rows, chunk);
        Ok::<_, Infallible>(())
    });
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
