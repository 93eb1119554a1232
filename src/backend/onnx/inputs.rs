//! A run as the inputs of a graph.

use ort::value::{DynValue, Tensor, TensorRef};

use super::graph::{
    COSINES, Form, INPUT_IDS, KEPT, KEY_POSITIONS, LAST_TOKENS, POSITION_IDS, SINES, past_names,
};
use super::past::Past;
use super::rope::Rope;
use super::session::Inputs;
use crate::batch::TokenBatch;

/// What is run.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) batch: &'a TokenBatch,
    /// What stands before each sequence.
    pub(super) past: &'a Past,
    /// Tokens of the first sequence whose keys and values are given out.
    pub(super) kept: usize,
}

/// What the whole model's graph in this form reads. `nothing` is a layer's keys or values of an empty
/// past.
pub(super) fn inputs<'a>(
    form: Form,
    pass: Pass<'a>,
    nothing: &'a DynValue,
    rope: &'a mut Rope,
) -> ort::Result<Inputs<'a>> {
    let Pass { batch, past, kept } = pass;
    let (rows, width) = (batch.rows(), batch.width());
    let keys = past.tokens() + width;
    let row = past.tokens() as i64..keys as i64;
    let positions: Vec<i64> = (0..rows).flat_map(|_| row.clone()).collect();
    let angles = [keys, rope.width()];
    let [cosines, sines] = rope.tables(keys);
    let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
    let last: Vec<i64> = batch.last_tokens().map(|token| token as i64).collect();
    let mut inputs: Inputs<'_> = vec![
        (
            INPUT_IDS.into(),
            Tensor::from_array(([rows * width], ids))?.into(),
        ),
        (
            POSITION_IDS.into(),
            Tensor::from_array(([rows, width], positions))?.into(),
        ),
        (
            COSINES.into(),
            TensorRef::from_array_view((angles, cosines))?.into(),
        ),
        (
            SINES.into(),
            TensorRef::from_array_view((angles, sines))?.into(),
        ),
        (
            LAST_TOKENS.into(),
            Tensor::from_array(([rows], last))?.into(),
        ),
    ];
    if !form.has_own_operators() {
        let places = Tensor::from_array(([keys], row.collect::<Vec<_>>()))?;
        inputs.push((KEY_POSITIONS.into(), places.into()));
    }
    if form.has_past() {
        let kept = Tensor::from_array(([1], vec![kept as i64]))?;
        inputs.push((KEPT.into(), kept.into()));
        for (layer, both) in past.layers().iter().enumerate() {
            for (name, array) in past_names(layer).into_iter().zip(both) {
                let array = match past.tokens() {
                    0 => nothing.into(),
                    tokens => {
                        let shape = [1, tokens, array.len() / tokens];
                        TensorRef::from_array_view((shape, &**array))?.into()
                    }
                };
                inputs.push((name.into(), array));
            }
        }
    }
    Ok(inputs)
}
