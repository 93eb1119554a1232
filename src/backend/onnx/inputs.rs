//! A batch as the inputs of a graph.

use ort::value::{Tensor, TensorRef};

use super::graph::{
    COSINES, Form, INPUT_IDS, KEY_POSITIONS, LAST_KEYS, LAST_TOKENS, POSITION_IDS, SINES,
    TOTAL_KEYS, past,
};
use super::prefix::Prefix;
use super::rope::Rope;
use super::session::Inputs;
use crate::batch::TokenBatch;

/// What the graph of this form reads for `batch`, whose tokens stand after those of `prefix`.
pub(super) fn inputs<'a>(
    form: Form,
    batch: &TokenBatch,
    prefix: &'a Prefix,
    rope: &'a mut Rope,
) -> ort::Result<Inputs<'a>> {
    let (rows, width) = (batch.rows(), batch.width());
    let keys = prefix.tokens() + width;
    let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
    let row = prefix.tokens() as i64..keys as i64;
    let positions: Vec<i64> = (0..rows).flat_map(|_| row.clone()).collect();
    let angles = [keys, rope.width()];
    let [cosines, sines] = rope.tables(keys);
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
    ];
    if form.pools() {
        let last: Vec<i64> = batch.last_tokens().map(|token| token as i64).collect();
        inputs.push((
            LAST_TOKENS.into(),
            Tensor::from_array(([rows], last))?.into(),
        ));
        let places: Vec<i64> = (0..keys as i64).collect();
        inputs.push((
            KEY_POSITIONS.into(),
            Tensor::from_array(([keys], places))?.into(),
        ));
    }
    if form.has_past() {
        for (layer, both) in prefix.layers().enumerate() {
            inputs.extend(
                past(layer)
                    .into_iter()
                    .zip(both)
                    .map(|(name, x)| (name.into(), x.into())),
            );
        }
    }
    if form.is_grouped() {
        // Padding is attended to by padding only, so every row may be as long as the longest.
        let last_keys = vec![width as i32 - 1; rows];
        inputs.push((
            LAST_KEYS.into(),
            Tensor::from_array(([rows], last_keys))?.into(),
        ));
        let total: [usize; 0] = [];
        inputs.push((
            TOTAL_KEYS.into(),
            Tensor::from_array((total, vec![width as i32]))?.into(),
        ));
    }
    Ok(inputs)
}
