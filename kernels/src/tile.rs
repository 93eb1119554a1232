//! The products of a few rows, whose sums are in registers, and a part of a panel.

use std::hint::black_box;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{Ordering, compiler_fence};

use pulp::Simd;

use super::ahead::Ahead;
use super::held::Held;

/// Vectors of a panel's width.
pub(super) const WIDTH: usize = 2;
/// Steps of the innermost loop at a time: for each it would otherwise count and compare.
pub(super) const UNROLLED: usize = 2;
/// What a depth of inputs is a multiple of, whichever way they are held.
pub(super) const MULTIPLE: usize = 2 * UNROLLED;

/// Adds the products of so many rows of x and a part of a panel to their sums, or writes them if these
/// are new. Loops over indices: closures would be functions of their own, without the vectors that
/// this one may use.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "see above")]
pub(super) fn multiply<S: Simd, H: Held<S>, const ROWS: usize>(
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
    for (step, weights) in weights.iter().enumerate() {
        ahead.step();
        for i in 0..UNROLLED {
            let weights = [H::first(simd, weights[i][0]), H::first(simd, weights[i][1])];
            add(simd, &x, UNROLLED * step + i, weights, &mut sums);
            // Weights of the next step, loaded earlier, would take a register that a sum needs.
            compiler_fence(Ordering::SeqCst);
        }
    }
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
/// step, or with addresses that the compiler derives from one another, the processor has more to do
/// with these than with products.
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
