//! What quantisation does to a model, measured block by block on a batch of token ids.
//!
//! One block is in memory at a time, in f32 and in int8, and a residual stream runs through each.

use std::collections::BTreeMap;

use super::fold::{Finish, Folding, Table};
use super::plan::{Damage, Group, Plan};
use super::store::{Store, ones};
use crate::backend::onnx::block::{Block, Layout};
use crate::backend::onnx::maker::Maker;
use crate::error::Result;

/// The batch: sequences of equal length.
const LAYOUT: Layout = Layout {
    sequences: 4,
    tokens: 24,
};

/// The beginnings of those sequences, with which each group of linear layers is tried alone.
const BEGINNINGS: Layout = Layout {
    sequences: LAYOUT.sequences,
    tokens: 8,
};

/// The ids that are measured with. Small ids are the frequent tokens of a byte-pair vocabulary, so
/// half of them are from its first sixteenth.
pub(super) fn ids(vocab: usize) -> Vec<u32> {
    let mut state = 1_u64;
    let id = |i: usize| {
        // Knuth's MMIX generator; its upper bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let range = if i.is_multiple_of(2) {
            vocab
        } else {
            vocab.div_ceil(16)
        };
        ((state >> 33) % range as u64) as u32
    };
    (0..LAYOUT.sequences * LAYOUT.tokens).map(id).collect()
}

/// A model that is being quantised.
pub(super) struct Measure<'a> {
    pub(super) folding: &'a Folding<'a>,
    pub(super) maker: Maker<'a>,
    finish: Finish,
    /// The streams before the first block, in f32 and as the int8 model has it.
    exact: Vec<f32>,
    int8: Vec<f32>,
}

impl<'a> Measure<'a> {
    /// Also gives the quantised embedding table.
    pub(super) fn start(folding: &'a Folding<'a>, maker: Maker<'a>) -> Result<(Self, Table)> {
        let ids = ids(folding.config.vocab_size());
        let (table, exact) = folding.table(&ids)?;
        let hidden = folding.config.hidden_size();
        let (_, values) = table.values.extract_tensor();
        let (_, scales) = table.scales.extract_tensor();
        let int8 = ids.iter().flat_map(|&id| {
            let row = &values[id as usize * hidden..][..hidden];
            row.iter()
                .map(move |&value| f32::from(value) * scales[id as usize])
        });
        let measure = Self {
            finish: folding.finish()?,
            int8: int8.collect(),
            folding,
            maker,
            exact,
        };
        Ok((measure, table))
    }

    /// The weights of all blocks by `plan`, and the least cosine of their vectors to those in f32.
    pub(super) fn quantized(&self, plan: &Plan) -> Result<(Store, f64)> {
        let (mut exact, mut int8) = (self.exact.clone(), self.int8.clone());
        let mut store = Store::new(BTreeMap::new());
        for layer in 0..self.folding.config.num_hidden_layers() {
            let block = self.folding.block(layer)?;
            let in_f32 = block.weights(&Plan::all_exact_but(layer, None))?;
            exact = Block::new(self.maker, layer, in_f32)?.run(LAYOUT, &exact)?;
            let weights = block.weights(plan)?;
            int8 = Block::new(self.maker, layer, weights.clone())?.run(LAYOUT, &int8)?;
            store.extend(weights);
        }
        let gain = ones(self.folding.config.hidden_size())?;
        store.insert("norm.weight", gain);
        Ok((store, self.least_cosine(LAYOUT, &exact, &int8)))
    }

    /// What each group's quantisation does alone.
    pub(super) fn damages(&self) -> Result<Vec<Damage>> {
        let mut reference = self.beginnings();
        let mut streams: Vec<(usize, Group, Vec<f32>)> = Vec::new();
        for layer in 0..self.folding.config.num_hidden_layers() {
            let block = self.folding.block(layer)?;
            let in_f32 = block.weights(&Plan::all_exact_but(layer, None))?;
            let mut exact = Block::new(self.maker, layer, in_f32)?;
            for (.., stream) in &mut streams {
                *stream = exact.run(BEGINNINGS, stream)?;
            }
            for group in Group::ALL {
                let weights = block.weights(&Plan::all_exact_but(layer, Some(group)))?;
                let mut quantized = Block::new(self.maker, layer, weights)?;
                streams.push((layer, group, quantized.run(BEGINNINGS, &reference)?));
            }
            reference = exact.run(BEGINNINGS, &reference)?;
        }
        let damage = |(layer, group, stream): (usize, Group, Vec<f32>)| Damage {
            layer,
            group,
            loss: 1.0 - self.least_cosine(BEGINNINGS, &reference, &stream),
        };
        Ok(streams.into_iter().map(damage).collect())
    }

    /// The beginnings' part of the stream before the first block.
    fn beginnings(&self) -> Vec<f32> {
        let hidden = self.folding.config.hidden_size();
        let sequences = self.exact.chunks_exact(hidden * LAYOUT.tokens);
        let beginnings = sequences.flat_map(|rows| &rows[..hidden * BEGINNINGS.tokens]);
        beginnings.copied().collect()
    }

    /// Over the vectors of all sequences; -1 if one of them is not a number.
    fn least_cosine(&self, layout: Layout, a: &[f32], b: &[f32]) -> f64 {
        let (a, b) = (self.vectors(layout, a), self.vectors(layout, b));
        let cosines = a.iter().zip(&b).map(|(a, b)| cosine(a, b));
        cosines
            .map(|cosine| if cosine.is_nan() { -1.0 } else { cosine })
            .fold(1.0, f64::min)
    }

    /// The last tokens' rows, after the final norm.
    fn vectors(&self, layout: Layout, stream: &[f32]) -> Vec<Vec<f32>> {
        let hidden = self.folding.config.hidden_size();
        let rows = stream.chunks_exact(hidden * layout.tokens);
        let eps = f64::from(self.folding.config.rms_norm_eps());
        rows.map(|sequence| {
            let row = &sequence[hidden * (layout.tokens - 1)..];
            let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let scale = (squares / hidden as f64 + eps).sqrt().recip();
            let mut row: Vec<f32> = row.iter().map(|&x| (f64::from(x) * scale) as f32).collect();
            self.finish.apply(&mut row);
            row
        })
        .collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
