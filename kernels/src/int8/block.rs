//! Some rows by some panels: sums of integers, and what becomes of them.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::packed::Panel;
use super::product::Int8Product;
use super::{Kind, MOST_OUTPUTS, Sums};
use crate::ahead::Ahead;
use crate::exp::silu;
use crate::kernel::with_constant;

/// Some groups of rows by some panels.
pub(super) struct Block<'a> {
    pub(super) product: &'a Int8Product<'a>,
    pub(super) tiles: Range<usize>,
    pub(super) panels: Range<usize>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Int8Product {
            layout,
            weights,
            gate,
            rows,
            output,
            ..
        } = self.product;
        let of_row = rows.of_row;
        let step = layout.width * layout.kind.inputs();
        for index in self.panels {
            let column = index * layout.width;
            let columns = layout.width.min(layout.outputs - column);
            let tiles = self.tiles.len();
            let mut panel = Multiplied::new(layout.panel(weights, index), step, tiles);
            let mut gate = gate.map(|gate| Multiplied::new(layout.panel(gate, index), step, tiles));
            for tile in self.tiles.clone() {
                let tile = rows.tiles.at(tile);
                let words = &rows.words[tile.start * of_row..tile.end * of_row];
                let scales = &rows.scales[tile.clone()];
                with_constant!(tile.len(), ROWS => {
                    let (words, _) = words.as_chunks::<ROWS>();
                    let to: [&mut [f32]; ROWS] = output.at(tile.start, column, columns);
                    let sums = panel.sums(layout.kind, words);
                    let panel = &panel.panel;
                    match &mut gate {
                        None => scale(&sums, panel, scales, to),
                        Some(gate) => {
                            let by = gate.sums(layout.kind, words);
                            gated([(&by, &gate.panel), (&sums, panel)], scales, to);
                        }
                    }
                });
            }
        }
    }
}

/// A panel, of which several groups of rows are multiplied, and what comes after it.
struct Multiplied<'a> {
    panel: Panel<'a>,
    ahead: Ahead,
}

impl<'a> Multiplied<'a> {
    fn new(panel: Panel<'a>, step: usize, groups: usize) -> Self {
        Self {
            ahead: Ahead::new(panel.weights, step, groups),
            panel,
        }
    }

    #[inline(always)]
    fn sums<const ROWS: usize>(&mut self, kind: Kind, words: &[[u32; ROWS]]) -> [Sums; ROWS] {
        let mut sums = [Sums([0; MOST_OUTPUTS]); ROWS];
        let begin = self.panel.begin;
        sums.iter_mut()
            .for_each(|sums| sums.0[..begin.len()].copy_from_slice(begin));
        kind.multiply(words, self.panel.weights, &mut self.ahead, &mut sums);
        sums
    }
}

/// Writes sums times the scales of their rows and of their outputs.
#[inline(always)]
fn scale<const ROWS: usize>(
    sums: &[Sums; ROWS],
    panel: &Panel<'_>,
    scales: &[f32],
    to: [&mut [f32]; ROWS],
) {
    for ((sums, scale), to) in sums.iter().zip(scales).zip(to) {
        for ((to, sum), by) in to.iter_mut().zip(&sums.0).zip(panel.scales) {
            *to = *sum as f32 * by * scale;
        }
    }
}

/// As [`scale`], of the second, times the first's that went through the gate.
#[inline(always)]
fn gated<const ROWS: usize>(
    [(gates, of_gate), (sums, of_sums)]: [(&[Sums; ROWS], &Panel<'_>); 2],
    scales: &[f32],
    to: [&mut [f32]; ROWS],
) {
    for (((gates, sums), scale), to) in gates.iter().zip(sums).zip(scales).zip(to) {
        let gates = gates.0.iter().zip(of_gate.scales);
        let sums = sums.0.iter().zip(of_sums.scales);
        for (to, ((gate, by_gate), (sum, by))) in to.iter_mut().zip(gates.zip(sums)) {
            let gate = *gate as f32 * by_gate * scale;
            *to = silu(gate) * (*sum as f32 * by * scale);
        }
    }
}
