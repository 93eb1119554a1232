//! Rows of a matrix, a chunk's at a time, into the order in which the product reads them.

use std::array;
use std::iter::StepBy;
use std::slice::IterMut;

use super::layout::{CHUNK, DEPTH, Element, Layout};

/// Rows, and inputs of each, that change places at a time.
const TILE: usize = 8;

impl Layout {
    /// Rows of the weight that make a chunk, or what is left of them the last one.
    pub fn rows_of_chunk(&self) -> usize {
        match self.element {
            Element::Int8 => self.width,
            Element::F32 | Element::Bf16 => CHUNK * self.width,
        }
    }

    /// Bytes of a chunk; the last one may have fewer.
    pub fn bytes_of_chunk(&self) -> usize {
        match self.element {
            Element::Int8 => self.panel_of_int8(),
            element => self.rows_of_chunk() * self.inputs * element.size(),
        }
    }

    /// Puts the rows of a chunk, rounded if need be, into its zeros.
    pub fn put(&self, rows: &[f32], chunk: &mut [u8]) {
        match self.element {
            Element::F32 => self.put_f32(rows, bytemuck::cast_slice_mut(chunk)),
            Element::Bf16 => {
                let rows: Vec<_> = rows.iter().map(|value| bf16(*value)).collect();
                self.put_bf16(&rows, bytemuck::cast_slice_mut(chunk));
            }
            Element::Int8 => self.put_int8(rows, chunk),
        }
    }

    /// Puts the rows of a chunk, little-endian bf16, into the words of zeros of one in bf16.
    pub fn put_bf16(&self, rows: &[[u8; 2]], chunk: &mut [u32]) {
        match rows.len() == self.rows_of_chunk() * self.inputs && self.is_even() {
            true => self.put_whole_halves(rows, chunk),
            false => self.put_halves(rows, chunk),
        }
    }

    fn put_f32(&self, rows: &[f32], chunk: &mut [f32]) {
        self.each_row(rows, chunk, 1, |row, column| {
            for (place, value) in column.zip(row) {
                *place = *value;
            }
        });
    }

    /// As [`put_bf16`](Self::put_bf16), of any chunk.
    fn put_halves(&self, rows: &[[u8; 2]], chunk: &mut [u32]) {
        self.each_row(rows, chunk, 2, |row, column| {
            let (lower, upper) = row.split_at(row.len() / 2);
            for ((place, &lower), &upper) in column.zip(lower).zip(upper) {
                *place = word(lower, upper);
            }
        });
    }

    /// As [`put_halves`](Self::put_halves) of a chunk that lacks no row, and many times as fast: a few
    /// rows at a time, since what is read of one in a row is written far apart.
    fn put_whole_halves(&self, rows: &[[u8; 2]], chunk: &mut [u32]) {
        for (begin, depth) in self.depths() {
            let half = depth / 2;
            let across = CHUNK * self.width;
            let slice = &mut chunk[begin / 2 * across..][..half * across];
            let panels = rows.chunks_exact(self.width * self.inputs);
            for (panel, rows) in slice.chunks_exact_mut(half * self.width).zip(panels) {
                let groups = rows.chunks_exact(TILE * self.inputs).enumerate();
                for (group, rows) in groups {
                    self.put_group(rows, begin, &mut panel[group * TILE..]);
                }
            }
        }
    }

    /// Puts a depth of inputs, from `begin` on, of [`TILE`] rows into a panel from the first one's
    /// place on.
    fn put_group(&self, rows: &[[u8; 2]], begin: usize, panel: &mut [u32]) {
        let half = DEPTH.min(self.inputs - begin) / 2;
        let part = |from: usize| -> [&[[[u8; 2]; TILE]]; TILE] {
            let row = |lane| &rows[lane * self.inputs + from..][..half];
            array::from_fn(|lane| row(lane).as_chunks().0)
        };
        let (lower, upper) = (part(begin), part(begin + half));
        for tile in 0..half / TILE {
            let mut words = [[0; TILE]; TILE];
            for (lane, words) in words.iter_mut().enumerate() {
                let halves = lower[lane][tile].iter().zip(&upper[lane][tile]);
                for (place, (&lower, &upper)) in words.iter_mut().zip(halves) {
                    *place = word(lower, upper);
                }
            }
            for input in 0..TILE {
                let to = &mut panel[(tile * TILE + input) * self.width..][..TILE];
                for (to, words) in to.iter_mut().zip(&words) {
                    *to = words[input];
                }
            }
        }
    }

    /// Whether [`put_whole_halves`](Self::put_whole_halves) puts all of a chunk.
    fn is_even(&self) -> bool {
        self.width.is_multiple_of(TILE) && self.inputs.is_multiple_of(2 * TILE)
    }

    /// Calls `put` with each row of a chunk, [`DEPTH`] inputs at a time, and the places of these: one
    /// for so many inputs.
    fn each_row<T, U>(
        &self,
        rows: &[T],
        chunk: &mut [U],
        inputs: usize,
        mut put: impl FnMut(&[T], StepBy<IterMut<'_, U>>),
    ) {
        let width = self.width;
        // Of the panels that the chunk has.
        let across = chunk.len() / (self.inputs / inputs).max(1);
        for (begin, depth) in self.depths() {
            let slice = &mut chunk[begin / inputs * across..][..depth / inputs * across];
            let panels = slice.chunks_mut((depth / inputs * width).max(1));
            let rows = rows.chunks(width * self.inputs);
            for (panel, rows) in panels.zip(rows) {
                for (lane, row) in rows.chunks(self.inputs).enumerate() {
                    let column = panel[lane..].iter_mut().step_by(width);
                    put(&row[begin..begin + depth], column);
                }
            }
        }
    }
}

/// The nearest of bf16, the even one of two that are as near, little-endian.
fn bf16(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let rounded = match value.is_nan() {
        true => bits | 1 << 22,
        false => bits + 0x7fff + (bits >> 16 & 1),
    };
    let [_, _, a, b] = rounded.to_le_bytes();
    [a, b]
}

/// Two of bf16, little-endian.
#[inline(always)]
fn word([a, b]: [u8; 2], [c, d]: [u8; 2]) -> u32 {
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The place of a weight, and whether it is in the upper half of a word.
    fn at(layout: &Layout, output: usize, input: usize) -> (usize, bool) {
        let (panel, lane) = (output / layout.width, output % layout.width);
        let (chunk, begin) = (panel / CHUNK, input / DEPTH * DEPTH);
        let panels = CHUNK.min(layout.panels() - chunk * CHUNK);
        let depth = DEPTH.min(layout.inputs - begin);
        let of_word = if layout.element == Element::Bf16 {
            2
        } else {
            1
        };
        let upper = layout.element == Element::Bf16 && input - begin >= depth / 2;
        let step = input - begin - if upper { depth / 2 } else { 0 };
        let before = chunk * CHUNK * layout.inputs + panels * begin + (panel % CHUNK) * depth;
        ((before / of_word + step) * layout.width + lane, upper)
    }

    #[test]
    fn each_weight_stands_in_its_place_and_the_rest_are_zeros() {
        let shapes = [[1, 4], [7, 8], [64, 256], [256, 336], [150, 700]];
        for ([outputs, inputs], width) in shapes
            .into_iter()
            .flat_map(|s| [2, 8, 16, 32].map(|w| (s, w)))
        {
            let whole = Layout {
                width,
                ..Layout::new([outputs, inputs], Element::F32).unwrap()
            };
            let halves = Layout {
                element: Element::Bf16,
                ..whole
            };
            let rows: Vec<f32> = (1..=outputs * inputs).map(|i| i as f32).collect();
            let bytes: Vec<[u8; 2]> = (1..=outputs * inputs)
                .map(|i| (i as u16).to_le_bytes())
                .collect();
            let mut values = vec![0.0; whole.len() / size_of::<f32>()];
            let mut words = vec![0; halves.len() / size_of::<u32>()];
            let of_chunk = CHUNK * width * inputs;
            for (rows, chunk) in rows.chunks(of_chunk).zip(values.chunks_mut(of_chunk)) {
                whole.put_f32(rows, chunk);
            }
            for (rows, chunk) in bytes.chunks(of_chunk).zip(words.chunks_mut(of_chunk / 2)) {
                halves.put_halves(rows, chunk);
                if rows.len() == of_chunk && halves.is_even() {
                    let mut others = vec![0; chunk.len()];
                    halves.put_whole_halves(rows, &mut others);
                    assert_eq!(chunk, others);
                }
            }
            for (output, input) in
                (0..outputs).flat_map(|output| (0..inputs).map(move |input| (output, input)))
            {
                let expected = output * inputs + input + 1;
                assert_eq!(values[at(&whole, output, input).0], expected as f32);
                let (place, upper) = at(&halves, output, input);
                let word: u32 = words[place];
                let found = if upper { word >> 16 } else { word & 0xffff };
                assert_eq!(found, expected as u32 & 0xffff);
            }
            let zeros = values.iter().filter(|&&value| value == 0.0).count();
            assert_eq!(zeros, values.len() - outputs * inputs);
        }
    }
}
