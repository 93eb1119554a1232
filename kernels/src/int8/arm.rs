//! Products by NEON; a panel has 16 outputs. Loops over indices: closures would be functions of their
//! own, without the vectors that these may use.
#![allow(clippy::needless_range_loop, reason = "see above")]

use std::arch::aarch64::*;
use std::arch::asm;

use bytemuck::{cast_slice, cast_slice_mut};

use super::Sums;
use crate::ahead::Ahead;

/// Vectors of a panel's width.
const WIDTH: usize = 4;

/// Each word of `x` is four signed bytes.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn dot<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    to: &mut [Sums; ROWS],
) {
    let (weights, _) = cast_slice::<_, int8x16_t>(weights).as_chunks::<WIDTH>();
    let mut sums = [[vdupq_n_s32(0); WIDTH]; ROWS];
    for i in 0..ROWS {
        sums[i].copy_from_slice(&cast_slice(&to[i].0)[..WIDTH]);
    }
    for (words, weights) in x.iter().zip(weights) {
        ahead.step();
        for i in 0..ROWS {
            let x = vreinterpretq_s8_u32(vdupq_n_u32(words[i]));
            for j in 0..WIDTH {
                sums[i][j] = add_dot(sums[i][j], weights[j], x);
            }
        }
    }
    for i in 0..ROWS {
        cast_slice_mut(&mut to[i].0)[..WIDTH].copy_from_slice(&sums[i]);
    }
}

/// Adds the products of four bytes each. The intrinsic is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
#[allow(unsafe_code, reason = "an instruction")]
fn add_dot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction computes with these registers and touches nothing else.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {b:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// As [`dot`], by products in 16 bits.
#[target_feature(enable = "neon")]
pub(super) fn neon<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    to: &mut [Sums; ROWS],
) {
    let (weights, _) = cast_slice::<_, int8x16_t>(weights).as_chunks::<WIDTH>();
    // An output's sums of the first two and of the last two of four inputs stand side by side.
    let mut sums = [[[vdupq_n_s32(0); 2]; WIDTH]; ROWS];
    for (words, weights) in x.iter().zip(weights) {
        ahead.step();
        for i in 0..ROWS {
            let x = vreinterpretq_s8_u32(vdupq_n_u32(words[i]));
            for j in 0..WIDTH {
                let lower = vmull_s8(vget_low_s8(weights[j]), vget_low_s8(x));
                let upper = vmull_high_s8(weights[j], x);
                sums[i][j][0] = vpadalq_s16(sums[i][j][0], lower);
                sums[i][j][1] = vpadalq_s16(sums[i][j][1], upper);
            }
        }
    }
    for i in 0..ROWS {
        let to: &mut [int32x4_t] = cast_slice_mut(&mut to[i].0);
        for j in 0..WIDTH {
            let [lower, upper] = sums[i][j];
            to[j] = vaddq_s32(to[j], vpaddq_s32(lower, upper));
        }
    }
}
