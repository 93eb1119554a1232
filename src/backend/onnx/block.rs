//! Blocks of the model alone, from residual stream to residual stream.

use std::ops::Range;

use ort::value::{Tensor, TensorRef};

use super::failed;
use super::graph::{COSINES, Form, POSITION_IDS, SINES, STREAM, Span};
use super::maker::Maker;
use super::rope::Rope;
use super::session::{Inputs, Session};
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

/// Sequences of equal length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) sequences: usize,
    pub(super) tokens: usize,
}

/// A block, or some that follow one another, with their weights.
pub(super) struct Block<'a> {
    session: Session,
    config: &'a ModelConfig,
}

impl<'a> Block<'a> {
    /// One block.
    pub(super) fn new(maker: Maker<'a>, layer: usize, weights: impl Weights) -> Result<Self> {
        Self::stack(maker, Form::Whole, layer..layer + 1, weights)
    }

    /// Blocks in a form without a past.
    pub(super) fn stack(
        maker: Maker<'a>,
        form: Form,
        layers: Range<usize>,
        mut weights: impl Weights,
    ) -> Result<Self> {
        Ok(Self {
            session: maker.session(&mut weights, form, &Span::blocks(layers))?,
            config: maker.config,
        })
    }

    /// A stream `(sequences * tokens, hidden)` to that of the block after.
    pub(super) fn run(&mut self, layout: Layout, stream: &[f32]) -> Result<Vec<f32>> {
        let Layout { sequences, tokens } = layout;
        let mut rope = Rope::new(self.config);
        let shape = [sequences * tokens, self.config.hidden_size()];
        let inputs = inputs(layout, (shape, stream), &mut rope);
        let inputs = inputs.map_err(|error| failed("measure", error))?;
        let outputs = self.session.run(inputs, sequences * tokens)?;
        let stream = outputs[0].try_extract_tensor::<f32>();
        Ok(stream.map_err(|error| failed("measure", error))?.1.to_vec())
    }
}

fn inputs<'a>(
    layout: Layout,
    stream: ([usize; 2], &'a [f32]),
    rope: &'a mut Rope,
) -> ort::Result<Inputs<'a>> {
    let Layout { sequences, tokens } = layout;
    let angles = [tokens, rope.width()];
    let [cosines, sines] = rope.tables(tokens);
    let positions: Vec<i64> = (0..sequences).flat_map(|_| 0..tokens as i64).collect();
    let positions = Tensor::from_array(([sequences, tokens], positions))?;
    let cosines = TensorRef::from_array_view((angles, cosines))?;
    let sines = TensorRef::from_array_view((angles, sines))?;
    Ok(vec![
        (STREAM.into(), TensorRef::from_array_view(stream)?.into()),
        (POSITION_IDS.into(), positions.into()),
        (COSINES.into(), cosines.into()),
        (SINES.into(), sines.into()),
    ])
}
