//! The products of some rows and panels, in whatever vectors the processor has.

use std::array;
use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

use pulp::{Arch, Simd, WithSimd};

use super::layout::{CHUNK, Layout};
use super::product::Output;

/// Vectors of a panel's width.
const WIDTH: usize = 2;
/// Steps of the innermost loop at a time: for each it would otherwise count and compare.
const UNROLLED: usize = 2;
/// What a depth of inputs is a multiple of, whichever way they are held.
pub(super) const MULTIPLE: usize = 2 * UNROLLED;

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
        match self.layout.halves {
            true => {
                let words = S::as_simd_u32s(bytemuck::cast_slice(bytes)).0;
                self.by::<S, Halves>(simd, words);
            }
            false => {
                let values = S::as_simd_f32s(bytemuck::cast_slice(bytes)).0;
                self.by::<S, Whole>(simd, values);
            }
        }
    }
}

/// How a vector of memory holds weights.
trait Held<S: Simd> {
    type Vector: Copy;
    /// Weights of an output in each of its elements.
    const WEIGHTS: usize;
    /// The first weight of each output, in f32.
    fn first(simd: S, vector: Self::Vector) -> S::f32s;
    /// The second, if there is one, by a mask of the upper halves of words.
    fn second(simd: S, vector: Self::Vector, upper: S::u32s) -> S::f32s;
}

/// f32.
struct Whole;

impl<S: Simd> Held<S> for Whole {
    type Vector = S::f32s;
    const WEIGHTS: usize = 1;

    #[inline(always)]
    fn first(_: S, vector: S::f32s) -> S::f32s {
        vector
    }

    #[inline(always)]
    fn second(_: S, vector: S::f32s, _: S::u32s) -> S::f32s {
        vector
    }
}

/// Two of bf16.
struct Halves;

impl<S: Simd> Held<S> for Halves {
    type Vector = S::u32s;
    const WEIGHTS: usize = 2;

    #[inline(always)]
    fn first(simd: S, vector: S::u32s) -> S::f32s {
        simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(vector, simd.splat_u32s(16)))
    }

    #[inline(always)]
    fn second(simd: S, vector: S::u32s, upper: S::u32s) -> S::f32s {
        simd.transmute_f32s_u32s(simd.and_u32s(vector, upper))
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
        with_constant!($number, $name => $body, [1 2 3 4 5 6 7 8 9 10 11 12])
    };
}

impl Block<'_> {
    #[inline(always)]
    fn by<S: Simd, H: Held<S>>(self, simd: S, weights: &[H::Vector]) {
        let layout = self.layout;
        let (inputs, width) = (layout.inputs, layout.width);
        let whole = layout.outputs / width;
        let tiles = Tiles::new(self.rows.len(), most_rows::<S>());
        let (weights, _) = weights.as_chunks::<WIDTH>();
        for chunk in self.chunks {
            let first = chunk * CHUNK;
            let panels = CHUNK.min(layout.panels() - first);
            for (begin, depth) in layout.depths() {
                let steps = depth / H::WEIGHTS;
                let from = (first * inputs + panels * begin) / H::WEIGHTS;
                let weights = &weights[from..][..panels * steps];
                // What is multiplied by next is fetched meanwhile, a part of it during each product.
                let mut ahead = Ahead::new(weights, tiles.count);
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
                let rest = layout.outputs % width;
                for (row, sums) in self.rows.clone().zip(self.sums.chunks_exact(width)) {
                    let [to] = self.output.at(row, whole * width, rest);
                    to.copy_from_slice(&sums[..rest]);
                }
            }
        }
    }
}

/// Rows of so many elements.
#[inline(always)]
fn rows_of<const ROWS: usize>(from: &mut [f32], first: usize, width: usize) -> [&mut [f32]; ROWS] {
    let mut rows = from[first * width..].chunks_exact_mut(width);
    array::from_fn(|_| rows.next().unwrap_or_default())
}

/// Rows whose sums, for the width of a panel, are in registers.
fn most_rows<S: Simd>() -> usize {
    match S::REGISTER_COUNT {
        ..=16 => 6,
        _ => 12,
    }
}

/// Rows in groups that are as even as can be: a group of few leaves the processor waiting for sums.
struct Tiles {
    rows: usize,
    count: usize,
}

impl Tiles {
    fn new(rows: usize, most: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(most),
        }
    }

    #[inline(always)]
    fn each(&self) -> impl Iterator<Item = Range<usize>> {
        let (rows, count) = (self.rows, self.count);
        (0..count).map(move |i| i * rows / count..(i + 1) * rows / count)
    }
}

/// Weights that the processor is told of before they are multiplied by. While several groups of rows
/// are multiplied by the same weights it would not touch memory.
struct Ahead {
    next: *const u8,
    bytes: usize,
}

impl Ahead {
    /// What follows `weights`, which so many groups of rows are multiplied by.
    fn new<T>(weights: &[T], groups: usize) -> Self {
        let bytes = (UNROLLED * size_of::<T>()).div_ceil(groups.max(1));
        Self {
            next: weights.as_ptr_range().end.cast(),
            bytes: bytes.next_power_of_two(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
#[allow(unsafe_code, reason = "an instruction that takes a pointer")]
fn prefetch(at: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every processor of this kind has the instruction, and it reads nothing: whatever the
    // address, it changes no more than what caches hold.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
}

/// Other processors are left to foresee it themselves.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch(_: *const u8) {}

/// Adds the products of so many rows of x and a part of a panel to their sums, or writes them if these
/// are new. Loops over indices: closures would be functions of their own, without the vectors that
/// this one may use.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "see above")]
fn multiply<S: Simd, H: Held<S>, const ROWS: usize>(
    simd: S,
    x: [&[f32]; ROWS],
    weights: &[[H::Vector; WIDTH]],
    to: [&mut [f32]; ROWS],
    new: bool,
    ahead: &mut Ahead,
) {
    let mut sums = [[simd.splat_f32s(0.0); WIDTH]; ROWS];
    if !new {
        for i in 0..ROWS {
            sums[i].copy_from_slice(&S::as_simd_f32s(to[i]).0[..WIDTH]);
        }
    }
    let steps = weights.len();
    let x = Rows::new(x, H::WEIGHTS * steps);
    let (weights, _) = weights.as_chunks::<UNROLLED>();
    let mut next = ahead.next;
    for (step, weights) in weights.iter().enumerate() {
        prefetch(next);
        next = next.wrapping_add(ahead.bytes);
        for i in 0..UNROLLED {
            let weights = [H::first(simd, weights[i][0]), H::first(simd, weights[i][1])];
            add(simd, &x, UNROLLED * step + i, weights, &mut sums);
            compiler_fence(Ordering::SeqCst);
        }
    }
    ahead.next = next;
    if H::WEIGHTS > 1 {
        // Not known before, so that no register holds it while the first are multiplied by.
        let upper = simd.splat_u32s(black_box(0xffff_0000));
        for (step, weights) in weights.iter().enumerate() {
            for i in 0..UNROLLED {
                let [a, b] = weights[i];
                let weights = [H::second(simd, a, upper), H::second(simd, b, upper)];
                add(simd, &x, steps + UNROLLED * step + i, weights, &mut sums);
                compiler_fence(Ordering::SeqCst);
            }
        }
    }
    for i in 0..ROWS {
        S::as_mut_simd_f32s(to[i]).0[..WIDTH].copy_from_slice(&sums[i]);
    }
}

/// Adds the products of one input of each row.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "see `multiply`")]
fn add<S: Simd, const ROWS: usize>(
    simd: S,
    x: &Rows<'_, ROWS>,
    input: usize,
    weights: [S::f32s; WIDTH],
    sums: &mut [[S::f32s; WIDTH]; ROWS],
) {
    for i in 0..ROWS {
        let x = simd.splat_f32s(x.get(i, input));
        for j in 0..WIDTH {
            sums[i][j] = simd.mul_add_e_f32s(x, weights[j], sums[i][j]);
        }
    }
}

/// Rows of equal length whose elements are read without a check of bounds. With one for each row and
/// step, or with addresses that the compiler derives from one another, the instructions are so many
/// more that on a Zen 3 all products together take 1.25 of the time.
struct Rows<'a, const ROWS: usize> {
    begins: [*const f32; ROWS],
    len: usize,
    rows: PhantomData<&'a [f32]>,
}

impl<'a, const ROWS: usize> Rows<'a, ROWS> {
    #[inline(always)]
    fn new(rows: [&'a [f32]; ROWS], len: usize) -> Self {
        let mut begins = [ptr::null(); ROWS];
        for i in 0..ROWS {
            begins[i] = rows[i][..len].as_ptr();
        }
        Self {
            begins: black_box(begins),
            len,
            rows: PhantomData,
        }
    }

    #[inline(always)]
    #[allow(unsafe_code, reason = "see the type")]
    fn get(&self, row: usize, place: usize) -> f32 {
        debug_assert!(place < self.len);
        // SAFETY: `multiply` asks for places below twice or once the number of its weights, which is
        // the length of each row.
        unsafe { *self.begins[row].add(place) }
    }
}
