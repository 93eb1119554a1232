//! A batch as the inputs that a graph declares.

use ort::memory::Allocator;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, Tensor, TensorElementType};

use crate::batch::TokenBatch;
use crate::onnx_file::{Content, Float, Input, Integer};

/// The values of every input. Everything is made from the lengths: the pad id may occur in a text.
pub(super) fn values<'a>(
    inputs: &'a [Input],
    batch: &TokenBatch,
    pad: u32,
) -> ort::Result<Vec<(&'a str, SessionInputValue<'a>)>> {
    inputs
        .iter()
        .map(|input| Ok((input.name.as_str(), value(input.content, batch, pad)?)))
        .collect()
}

fn value(
    content: Content,
    batch: &TokenBatch,
    pad: u32,
) -> ort::Result<SessionInputValue<'static>> {
    match content {
        Content::Ids(kind) => integers(kind, batch, |token| match token.is_real {
            true => token.id.into(),
            false => pad.into(),
        }),
        Content::Mask(kind) => integers(kind, batch, |token| token.is_real.into()),
        Content::TypeIds(kind) => integers(kind, batch, |_| 0),
        Content::Positions(kind) => integers(kind, batch, |token| token.position),
        Content::Past {
            element,
            heads,
            head_dim,
        } => {
            let element = match element {
                Float::F16 => TensorElementType::Float16,
                Float::F32 => TensorElementType::Float32,
            };
            let shape = [batch.rows(), heads, 0, head_dim];
            Ok(DynTensor::new(&Allocator::default(), element, shape)?.into())
        }
    }
}

/// One place in a padded batch.
struct Token {
    id: u32,
    /// Below 2^31, as lengths are.
    position: i64,
    is_real: bool,
}

fn integers(
    kind: Integer,
    batch: &TokenBatch,
    of: impl Fn(Token) -> i64,
) -> ort::Result<SessionInputValue<'static>> {
    let shape = [batch.rows(), batch.width()];
    let rows = batch.ids().chunks_exact(batch.width()).zip(batch.lengths());
    let numbers = rows.flat_map(|(ids, &length)| {
        ids.iter().enumerate().map(move |(place, &id)| Token {
            id,
            position: place as i64,
            is_real: place < length,
        })
    });
    let numbers = numbers.map(of);
    Ok(match kind {
        Integer::I64 => Tensor::from_array((shape, numbers.collect::<Vec<i64>>()))?.into(),
        Integer::I32 => {
            // Ids and positions are below 2^31.
            let numbers: Vec<i32> = numbers.map(|n| n as i32).collect();
            Tensor::from_array((shape, numbers))?.into()
        }
    })
}
