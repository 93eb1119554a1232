//! Some tokens and heads: scores of a few rows, what these weigh, and the values by that.

use std::array;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::Attention;
use super::softmax::{LANES, exponentials};
use crate::ahead::Ahead;
use crate::held::Whole;
use crate::kernel::{Tiles, most_rows, rows_of, with_constant};
use crate::tile::{UNROLLED, WIDTH, multiply};

/// Some tokens of a sequence, and the heads that ask the same keys.
pub(super) struct Block<'a> {
    pub(super) attention: &'a Attention<'a>,
    pub(super) sequence: usize,
    pub(super) key_head: usize,
    pub(super) tokens: Range<usize>,
}

/// What a block computes with.
struct Room {
    /// In panels of as many keys as a panel of weights has outputs.
    keys: Vec<f32>,
    /// In panels of as many elements.
    values: Vec<f32>,
    /// Keys, and what panels lack.
    padded: usize,
    queries: Vec<f32>,
    scores: Vec<f32>,
    /// Sums of some rows and a panel of values.
    sums: Vec<f32>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let heads = &self.attention.heads;
        let width = WIDTH * S::F32_LANES;
        let seen = self.seen(self.tokens.end - 1);
        let padded = padded::<S>(seen);
        let most = most_rows::<S>();
        let mut room = Room {
            keys: self.keys(seen, [width, padded]),
            values: self.values(seen, [width, padded]),
            padded,
            queries: vec![0.0; most * heads.size],
            scores: vec![0.0; most * padded],
            sums: vec![0.0; most * width],
        };
        let group = heads.heads / heads.key_value_heads;
        let tiles = Tiles::new(self.tokens.len(), most);
        for head in self.key_head * group..(self.key_head + 1) * group {
            for tile in tiles.each() {
                let first = self.tokens.start + tile.start;
                with_constant!(tile.len(), ROWS => self.attend::<S, ROWS>(simd, head, first, &mut room));
            }
        }
    }
}

impl Block<'_> {
    /// Keys that one of the tokens that ask attends to.
    #[inline(always)]
    fn seen(&self, token: usize) -> usize {
        self.attention.position(self.sequence, token) + 1
    }

    /// What a head of so many tokens, from `first` on, attends to.
    #[inline(always)]
    fn attend<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        head: usize,
        first: usize,
        room: &mut Room,
    ) {
        let (size, width) = (self.attention.heads.size, WIDTH * S::F32_LANES);
        let queries = room.queries.chunks_exact_mut(size);
        for (token, query) in (first..first + ROWS).zip(queries) {
            self.attention.query(self.sequence, head, token, query);
        }
        let padded = padded::<S>(self.seen(first + ROWS - 1));
        let scores = &mut room.scores[..ROWS * padded];
        let (keys, _) = S::as_simd_f32s(&room.keys).0.as_chunks::<WIDTH>();
        for (panel, keys) in keys.chunks_exact(size).take(padded / width).enumerate() {
            let to = columns::<ROWS>(scores, padded, panel * width..(panel + 1) * width);
            let queries = rows::<ROWS>(&room.queries, size);
            let mut ahead = Ahead::new(keys, step::<S>(), 1);
            multiply::<S, Whole, ROWS>(simd, queries, keys, to, true, &mut ahead);
        }
        let mut by = [0.0; ROWS];
        let of_rows = by.iter_mut().zip(scores.chunks_exact_mut(padded));
        for (i, (by, scores)) in of_rows.enumerate() {
            *by = exponentials(scores, self.seen(first + i)).recip();
        }
        self.weigh::<S, ROWS>(simd, [head, first, padded], by, room);
    }

    /// Writes the sums of values by what their keys weigh, times `by` of each row.
    #[inline(always)]
    fn weigh<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        [head, first, padded]: [usize; 3],
        by: [f32; ROWS],
        room: &mut Room,
    ) {
        let Attention { heads, output, .. } = self.attention;
        let (size, width) = (heads.size, WIDTH * S::F32_LANES);
        let row = self.sequence * self.attention.asking_tokens() + first;
        let (values, _) = S::as_simd_f32s(&room.values).0.as_chunks::<WIDTH>();
        for (panel, values) in values.chunks_exact(room.padded).enumerate() {
            let values = &values[..padded];
            let scores = rows::<ROWS>(&room.scores, padded);
            let columns = width.min(size - panel * width);
            let to = output.at::<ROWS>(row, head * size + panel * width, columns);
            let mut ahead = Ahead::new(values, step::<S>(), 1);
            let sums: [&mut [f32]; ROWS] = rows_of(&mut room.sums, 0, width);
            multiply::<S, Whole, ROWS>(simd, scores, values, sums, true, &mut ahead);
            let sums = room.sums.chunks_exact(width);
            for ((to, sums), by) in to.into_iter().zip(sums).zip(by) {
                for (to, sum) in to.iter_mut().zip(sums) {
                    *to = sum * by;
                }
            }
        }
    }
}

/// So many keys, and what panels and [`LANES`] lack.
fn padded<S: Simd>(keys: usize) -> usize {
    keys.next_multiple_of(LANES.max(WIDTH * S::F32_LANES))
}

/// Bytes of weights that are multiplied by before the next are fetched.
fn step<S: Simd>() -> usize {
    UNROLLED * size_of::<[S::f32s; WIDTH]>()
}

#[inline(always)]
fn rows<const ROWS: usize>(from: &[f32], len: usize) -> [&[f32]; ROWS] {
    array::from_fn(|row| &from[row * len..][..len])
}

/// Some columns of rows of so many elements.
#[inline(always)]
fn columns<const ROWS: usize>(
    from: &mut [f32],
    len: usize,
    columns: Range<usize>,
) -> [&mut [f32]; ROWS] {
    let mut rows = from.chunks_exact_mut(len);
    array::from_fn(|_| &mut rows.next().unwrap_or_default()[columns.clone()])
}
