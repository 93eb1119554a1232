//! The products of some rows and panels, in whatever vectors the processor has.

use std::array;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::ahead::Ahead;
use super::held::{Halves, Held, Whole};
use super::layout::{CHUNK, Element, Layout};
use super::output::Output;
use super::tile::{UNROLLED, WIDTH, multiply};

/// Outputs of a panel.
pub(super) fn width(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    WIDTH * arch.dispatch(Lanes)
}

/// Some rows of the input by some chunks of panels.
pub(super) struct Block<'a> {
    pub(super) layout: &'a Layout,
    pub(super) weights: &'a [u8],
    pub(super) x: &'a [f32], // (T, in)
    pub(super) output: &'a Output,
    pub(super) rows: Range<usize>,
    pub(super) chunks: Range<usize>,
    /// Room for the rows' sums of one panel, which may be wider than what is left of the output.
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let bytes = self.weights;
        match self.layout.element {
            Element::Bf16 => {
                let words = S::as_simd_u32s(bytemuck::cast_slice(bytes)).0;
                self.by::<S, Halves>(simd, words);
            }
            Element::F32 => {
                let values = S::as_simd_f32s(bytemuck::cast_slice(bytes)).0;
                self.by::<S, Whole>(simd, values);
            }
            // See `Product::new`.
            Element::Int8 => {}
        }
    }
}

/// Does something with a number as a constant.
macro_rules! with_constant {
    ($number:expr, $name:ident => $body:expr, [$($value:literal)*]) => {
        match $number {
            $($value => {
                const $name: usize = $value;
                $body
            })*
            _ => {}
        }
    };
    ($number:expr, $name:ident => $body:expr) => {
        $crate::kernel::with_constant!($number, $name => $body, [1 2 3 4 5 6 7 8 9 10 11 12])
    };
}
pub(super) use with_constant;

impl Block<'_> {
    #[inline(always)]
    fn by<S: Simd, H: Held<S>>(self, simd: S, weights: &[H::Vector]) {
        let layout = self.layout;
        let (inputs, width) = (layout.inputs, layout.width);
        let whole = layout.outputs / width;
        let tiles = Tiles::new(self.rows.len(), most_rows::<S>());
        let (weights, _) = weights.as_chunks::<WIDTH>();
        for chunk in self.chunks.clone() {
            let first = chunk * CHUNK;
            let panels = CHUNK.min(layout.panels() - first);
            for (begin, depth) in layout.depths() {
                let steps = depth / H::WEIGHTS;
                let from = (first * inputs + panels * begin) / H::WEIGHTS;
                let weights = &weights[from..][..panels * steps];
                // What is multiplied by next is fetched meanwhile, a part of it during each product.
                let mut ahead = Ahead::new(
                    weights,
                    UNROLLED * size_of::<[H::Vector; WIDTH]>(),
                    tiles.count,
                );
                for tile in tiles.each() {
                    let row = self.rows.start + tile.start;
                    let x = &self.x[row * inputs..];
                    for (panel, weights) in (first..).zip(weights.chunks_exact(steps)) {
                        with_constant!(tile.len(), ROWS => {
                            let x = array::from_fn(|i| &x[i * inputs..][begin..begin + depth]);
                            let to: [&mut [f32]; ROWS] = match panel < whole {
                                true => self.output.at(row, panel * width, width),
                                false => rows_of(self.sums, tile.start, width),
                            };
                            multiply::<S, H, ROWS>(simd, x, weights, to, begin == 0, &mut ahead);
                        });
                    }
                }
            }
            if first + panels > whole {
                self.put_rest();
            }
        }
    }

    /// Writes the sums of the last panel, which is wider than what is left of the output.
    fn put_rest(&self) {
        let (width, outputs) = (self.layout.width, self.layout.outputs);
        let rest = outputs % width;
        for (row, sums) in self.rows.clone().zip(self.sums.chunks_exact(width)) {
            let [to] = self.output.at(row, outputs - rest, rest);
            to.copy_from_slice(&sums[..rest]);
        }
    }
}

/// Rows of so many elements.
#[inline(always)]
pub(super) fn rows_of<const ROWS: usize>(
    from: &mut [f32],
    first: usize,
    width: usize,
) -> [&mut [f32]; ROWS] {
    let mut rows = from[first * width..].chunks_exact_mut(width);
    array::from_fn(|_| rows.next().unwrap_or_default())
}

/// Rows whose sums, for the width of a panel, are in registers.
pub(super) fn most_rows<S: Simd>() -> usize {
    match S::REGISTER_COUNT {
        ..=16 => 6,
        _ => 12,
    }
}

/// Rows in groups that are as even as can be: a group of few leaves the processor waiting for sums.
pub(super) struct Tiles {
    pub(super) rows: usize,
    pub(super) count: usize,
}

impl Tiles {
    pub(super) fn new(rows: usize, most: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(most),
        }
    }

    #[inline(always)]
    pub(super) fn each(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.count).map(|tile| self.at(tile))
    }

    /// One of the groups.
    #[inline(always)]
    pub(super) fn at(&self, tile: usize) -> Range<usize> {
        tile * self.rows / self.count..(tile + 1) * self.rows / self.count
    }
}
