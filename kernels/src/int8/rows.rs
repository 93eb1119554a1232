//! Rows in int8, quantised in tasks that threads may run in any order.

use std::array;
use std::mem;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use pulp::{Arch, Simd, WithSimd};

use super::{Held, Kind, LARGEST};
use crate::exp::ROUNDING;
use crate::kernel::{Tiles, with_constant};
use crate::layout::Layout;
use crate::tasks::{ELEMENTS, Tasks};

/// Rows in int8, each with a scale of its own: a row's result would else depend on the others, and be
/// coarse beside one large row.
///
/// They are kept in groups. Of a group the integers of the first inputs, as many as are multiplied at a
/// time, make a word of each row, and then come the words of the next inputs.
pub struct QuantizedRows {
    pub(super) kind: Kind,
    pub(super) inputs: usize,
    /// Words of a row.
    pub(super) of_row: usize,
    pub(super) tiles: Tiles,
    pub(super) words: Vec<u32>,
    pub(super) scales: Vec<f32>,
}

impl QuantizedRows {
    /// Room for so many rows as a product by weights that are laid out so reads them.
    pub fn new(layout: &Layout, rows: usize) -> Self {
        let kind = layout.kind;
        Self {
            kind,
            inputs: layout.inputs,
            of_row: layout.words(),
            tiles: Tiles::new(rows, kind.rows()),
            words: vec![0; rows * layout.words()],
            scales: vec![0.0; rows],
        }
    }

    /// The quantisation of rows `(T, in)`.
    ///
    /// # Errors
    /// There is room for another number of rows.
    pub fn quantize<'a>(&'a mut self, x: &'a [f32]) -> Result<Quantization<'a>, String> {
        let Self {
            kind,
            inputs,
            of_row,
            ref tiles,
            ..
        } = *self;
        if x.len() != tiles.rows * inputs {
            let (rows, found) = (tiles.rows, x.len());
            return Err(format!(
                "expected {rows} rows of {inputs}, found {found} elements"
            ));
        }
        let of_task = (ELEMENTS / (inputs * kind.rows()).max(1)).max(1);
        let tiles: Vec<Range<usize>> = tiles.each().collect();
        let mut rest = (x, &mut *self.words, &mut *self.scales);
        let tasks = tiles.chunks(of_task).map(|tiles| {
            let tiles = tiles.iter().map(ExactSizeIterator::len);
            let tiles: Vec<usize> = tiles.collect();
            let rows = tiles.iter().sum();
            let (words, scales) = (mem::take(&mut rest.1), mem::take(&mut rest.2));
            let (x, after) = rest.0.split_at(rows * inputs);
            let (words, words_after) = words.split_at_mut(rows * of_row);
            let (scales, scales_after) = scales.split_at_mut(rows);
            rest = (after, words_after, scales_after);
            Mutex::new(Some(Part {
                kind,
                inputs,
                of_row,
                tiles,
                x,
                words,
                scales,
            }))
        });
        Ok(Quantization {
            tasks: tasks.collect(),
        })
    }
}

/// Rows that are being quantised.
pub struct Quantization<'a> {
    tasks: Vec<Mutex<Option<Part<'a>>>>,
}

impl Tasks for Quantization<'_> {
    fn tasks(&self) -> usize {
        self.tasks.len()
    }

    fn run(&self, task: usize) {
        let part = self.tasks.get(task).and_then(|part| {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.take()
        });
        if let Some(part) = part {
            Arch::new().dispatch(part);
        }
    }
}

/// Some groups of rows, and where they go.
struct Part<'a> {
    kind: Kind,
    inputs: usize,
    of_row: usize,
    /// Rows of each group.
    tiles: Vec<usize>,
    x: &'a [f32],
    words: &'a mut [u32],
    scales: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (inputs, of_row, held) = (self.inputs, self.of_row, self.kind.held());
        // What a row's last word lacks stays zero.
        let mut integers = vec![0_u32; self.kind.rows() * of_row];
        let (mut x, mut words, mut scales) = (self.x, self.words, self.scales);
        for rows in self.tiles {
            let (x_of_tile, x_after) = x.split_at(rows * inputs);
            let (words_of_tile, words_after) = mem::take(&mut words).split_at_mut(rows * of_row);
            let (scales_of_tile, scales_after) = mem::take(&mut scales).split_at_mut(rows);
            (x, words, scales) = (x_after, words_after, scales_after);
            let places = scales_of_tile.iter_mut();
            let places = places.zip(integers.chunks_exact_mut(of_row.max(1)));
            for (x, (scale, integers)) in x_of_tile.chunks_exact(inputs.max(1)).zip(places) {
                let (by, step) = steps(x);
                *scale = step;
                match held {
                    Held::Biased => bytes(x, by, 0x80, integers),
                    Held::Signed => bytes(x, by, 0, integers),
                    Held::Wide => shorts(x, by, integers),
                }
            }
            with_constant!(rows, ROWS => side_by_side::<ROWS>(&integers, of_row, words_of_tile));
        }
    }
}

/// Rows of so many words, a word of each after one of each.
#[inline(always)]
fn side_by_side<const ROWS: usize>(rows: &[u32], of_row: usize, words: &mut [u32]) {
    let rows: [&[u32]; ROWS] = array::from_fn(|row| &rows[row * of_row..][..of_row]);
    let (words, _) = words.as_chunks_mut::<ROWS>();
    for (step, words) in words[..of_row].iter_mut().enumerate() {
        for row in 0..ROWS {
            words[row] = rows[row][step];
        }
    }
}

/// What a row is multiplied by to become integers, and what one of these is worth: NaN, if an element
/// is infinite or none.
#[inline(always)]
fn steps(x: &[f32]) -> (f32, f32) {
    // Those that are not finite are the largest.
    let largest = x.iter().map(|x| x.to_bits() & 0x7fff_ffff);
    let largest = f32::from_bits(largest.fold(0, Ord::max));
    let by = LARGEST / largest;
    match (largest.is_finite(), by.is_finite()) {
        (true, true) => (by, largest / LARGEST),
        (true, false) => (0.0, 0.0),
        (false, _) => (0.0, f32::NAN),
    }
}

#[inline(always)]
fn rounded(x: f32, by: f32) -> u32 {
    (x * by + ROUNDING).to_bits()
}

#[inline(always)]
fn bytes(x: &[f32], by: f32, flip: u8, row: &mut [u32]) {
    let row: &mut [u8] = bytemuck::cast_slice_mut(row);
    for (place, x) in row.iter_mut().zip(x) {
        *place = rounded(*x, by) as u8 ^ flip;
    }
}

#[inline(always)]
fn shorts(x: &[f32], by: f32, row: &mut [u32]) {
    let row: &mut [u16] = bytemuck::cast_slice_mut(row);
    for (place, x) in row.iter_mut().zip(x) {
        *place = rounded(*x, by) as u16;
    }
}
