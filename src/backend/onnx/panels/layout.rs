//! The order in which a matrix lies in memory: that in which the product reads it.

use std::array;
use std::iter::StepBy;
use std::slice::IterMut;

use bytemuck::cast_slice_mut;
use pulp::Arch;

use super::kernel;
use crate::checkpoint::Weight;
use crate::dtype::Dtype;
use crate::error::Result;

/// Panels that one task multiplies by before it goes on to the next ones.
pub(super) const CHUNK: usize = 4;

/// Inputs whose products are summed at a time: a panel of so many stays in the first cache.
pub(super) const DEPTH: usize = 256;

/// Rows, and inputs of each, that change places at a time.
const TILE: usize = 8;

/// Bytes of a checkpoint that are mapped at a time.
const WINDOW: usize = 8 << 20;

/// A matrix `(out, in)` in panels of so many outputs, of which the weights of one input stand side by
/// side. Of each [`CHUNK`] of panels the first [`DEPTH`] inputs of each panel come first, then the next
/// of each. Outputs that the last panel lacks are zeros.
///
/// In bf16 two weights of an output share a word: that of an input of the first half of such a depth
/// in its lower half, and that of the input as far into the second half in its upper half.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend::onnx) struct Layout {
    pub(super) arch: Arch,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Outputs of a panel.
    pub(super) width: usize,
    /// Whether it is in bf16, not f32.
    pub(super) halves: bool,
}

impl Layout {
    /// In bf16 where the checkpoint has it so, else in f32. `None` of what is no matrix, or one of a
    /// number of inputs that no model has.
    pub(in crate::backend::onnx) fn of(weight: &Weight<'_>) -> Option<Self> {
        let &[outputs, inputs] = &*weight.shape() else {
            return None;
        };
        let bf16 = weight.packed.is_none() && weight.tensor.dtype() == Dtype::Bf16;
        inputs.is_multiple_of(kernel::MULTIPLE).then(|| Self {
            halves: bf16,
            ..Self::in_f32([outputs, inputs])
        })
    }

    pub(super) fn in_f32([outputs, inputs]: [usize; 2]) -> Self {
        let arch = Arch::new();
        Self {
            arch,
            outputs,
            inputs,
            width: kernel::width(arch),
            halves: false,
        }
    }

    /// The type of its elements.
    pub(in crate::backend::onnx) fn dtype(&self) -> Dtype {
        match self.halves {
            true => Dtype::Bf16,
            false => Dtype::F32,
        }
    }

    /// Bytes that it takes.
    pub(in crate::backend::onnx) fn len(&self) -> usize {
        self.panels() * self.width * self.inputs * self.dtype().size()
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    pub(super) fn chunks(&self) -> usize {
        self.panels().div_ceil(CHUNK)
    }

    /// Where the inputs from each [`DEPTH`] on begin, and how many they are.
    pub(super) fn depths(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = self.inputs;
        let begins = (0..inputs).step_by(DEPTH);
        begins.map(move |begin| (begin, DEPTH.min(inputs - begin)))
    }

    /// Writes the weight to memory of zeros.
    pub(in crate::backend::onnx) fn fill(
        &self,
        weight: &Weight<'_>,
        memory: &mut [u8],
    ) -> Result<()> {
        // Rows of the weight that make a chunk.
        let row = self.inputs * weight.tensor.dtype().size();
        let (rows, row) = (CHUNK * self.width, row.max(1));
        let window = (WINDOW / (rows * row)).max(1) * rows * row;
        if self.halves {
            let mut chunks = cast_slice_mut(memory).chunks_mut(rows * self.inputs / 2);
            let mut copy = Vec::with_capacity(rows * self.inputs);
            return weight.tensor.for_each_block(window, |bytes| {
                for (bytes, chunk) in bytes.chunks(rows * row).zip(&mut chunks) {
                    // Memory is read in order, which it need not wait for.
                    copy.clear();
                    copy.extend_from_slice(bytes.as_chunks().0);
                    match copy.len() == rows * self.inputs && self.is_even() {
                        true => self.put_whole_halves(&copy, chunk),
                        false => self.put_halves(&copy, chunk),
                    }
                }
                Ok(())
            });
        }
        let mut chunks = cast_slice_mut(memory).chunks_mut(rows * self.inputs);
        let mut values = Vec::with_capacity(rows * self.inputs);
        if weight.packed.is_none() {
            return weight.tensor.for_each_block(window, |bytes| {
                for (bytes, chunk) in bytes.chunks(rows * row).zip(&mut chunks) {
                    values.resize(bytes.len() / row * self.inputs, 0.0);
                    weight
                        .tensor
                        .dtype()
                        .fill(bytes, &mut values, |value| value);
                    self.put(&values, chunk);
                }
                Ok(())
            });
        }
        weight.for_each(|value| {
            values.push(value);
            if values.len() == rows * self.inputs {
                chunks
                    .next()
                    .into_iter()
                    .for_each(|chunk| self.put(&values, chunk));
                values.clear();
            }
        })?;
        chunks
            .next()
            .into_iter()
            .for_each(|chunk| self.put(&values, chunk));
        Ok(())
    }

    /// Puts the rows of a chunk into it.
    fn put(&self, rows: &[f32], chunk: &mut [f32]) {
        self.each_row(rows, chunk, 1, |row, column| {
            for (place, value) in column.zip(row) {
                *place = *value;
            }
        });
    }

    /// As [`put`](Self::put), of little-endian bf16.
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
                            let row = (tile * TILE + input) * self.width + group * TILE;
                            let to = &mut panel[row..row + TILE];
                            for (to, words) in to.iter_mut().zip(&words) {
                                *to = words[input];
                            }
                        }
                    }
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

/// Two of bf16, little-endian.
#[inline(always)]
fn word([a, b]: [u8; 2], [c, d]: [u8; 2]) -> u32 {
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A weight of an output and an input, in whichever of the two orders.
    fn at(layout: &Layout, output: usize, input: usize) -> (usize, bool) {
        let (panel, lane) = (output / layout.width, output % layout.width);
        let (chunk, begin) = (panel / CHUNK, input / DEPTH * DEPTH);
        let panels = CHUNK.min(layout.panels() - chunk * CHUNK);
        let depth = DEPTH.min(layout.inputs - begin);
        let of_word = if layout.halves { 2 } else { 1 };
        let upper = layout.halves && input - begin >= depth / 2;
        let place = input - begin - if upper { depth / 2 } else { 0 };
        let before = chunk * CHUNK * layout.inputs + panels * begin + (panel % CHUNK) * depth;
        let place = (before / of_word + place) * layout.width + lane;
        (place, upper)
    }

    #[test]
    fn each_weight_stands_in_its_place() {
        for [outputs, inputs] in [[1, 4], [7, 8], [64, 256], [256, 336], [150, 700]] {
            let layout = Layout::in_f32([outputs, inputs]);
            let value = |output, input| (output * inputs + input + 1) as f32;
            let rows: Vec<f32> = (0..outputs * inputs).map(|i| i as f32 + 1.0).collect();
            let mut memory = vec![0.0; layout.len() / 4];
            let rows_of_chunk = CHUNK * layout.width * inputs;
            for (rows, chunk) in rows
                .chunks(rows_of_chunk)
                .zip(memory.chunks_mut(rows_of_chunk))
            {
                layout.put(rows, chunk);
            }
            let halves = Layout {
                halves: true,
                ..layout
            };
            let bytes: Vec<[u8; 2]> = (0..outputs * inputs)
                .map(|i| ((i + 1) as u16).to_le_bytes())
                .collect();
            let mut words = vec![0; halves.len() / 4];
            for (rows, chunk) in bytes
                .chunks(rows_of_chunk)
                .zip(words.chunks_mut(rows_of_chunk / 2))
            {
                halves.put_halves(rows, chunk);
            }
            if halves.is_even() && outputs.is_multiple_of(CHUNK * layout.width) {
                let mut others = vec![0; words.len()];
                let chunks = others.chunks_mut(rows_of_chunk / 2);
                for (rows, chunk) in bytes.chunks(rows_of_chunk).zip(chunks) {
                    halves.put_whole_halves(rows, chunk);
                }
                assert_eq!(others, words);
            }
            for output in 0..outputs {
                for input in 0..inputs {
                    assert_eq!(memory[at(&layout, output, input).0], value(output, input));
                    let (place, upper) = at(&halves, output, input);
                    let found = words[place] >> if upper { 16 } else { 0 } & 0xffff;
                    assert_eq!(
                        f32::from(found as u16),
                        f32::from(value(output, input) as u32 as u16)
                    );
                }
            }
            let zeros = memory.iter().filter(|&&value| value == 0.0).count();
            assert_eq!(zeros, memory.len() - outputs * inputs);
        }
    }
}
