//! Products by AVX. Loops over indices: closures would be functions of their own, without the vectors
//! that these may use.
#![allow(clippy::needless_range_loop, reason = "see above")]

use std::arch::x86_64::*;

use bytemuck::{cast_slice, cast_slice_mut};

use super::Sums;
use crate::ahead::Ahead;

/// Vectors of a panel's width.
const WIDTH: usize = 2;

/// Each word of `x` is four bytes of which 128 is zero; a panel has 32 outputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn vnni512<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    to: &mut [Sums; ROWS],
) {
    let (weights, _) = cast_slice::<_, __m512i>(weights).as_chunks::<WIDTH>();
    let mut sums = [[_mm512_setzero_si512(); WIDTH]; ROWS];
    for i in 0..ROWS {
        sums[i].copy_from_slice(&cast_slice(&to[i].0)[..WIDTH]);
    }
    for (words, weights) in x.iter().zip(weights) {
        ahead.step();
        for i in 0..ROWS {
            let x = _mm512_set1_epi32(words[i].cast_signed());
            for j in 0..WIDTH {
                sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], x, weights[j]);
            }
        }
    }
    for i in 0..ROWS {
        cast_slice_mut(&mut to[i].0)[..WIDTH].copy_from_slice(&sums[i]);
    }
}

/// As [`vnni512`]; a panel has 16 outputs.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn vnni256<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    to: &mut [Sums; ROWS],
) {
    let (weights, _) = cast_slice::<_, __m256i>(weights).as_chunks::<WIDTH>();
    let mut sums = [[_mm256_setzero_si256(); WIDTH]; ROWS];
    for i in 0..ROWS {
        sums[i].copy_from_slice(&cast_slice(&to[i].0)[..WIDTH]);
    }
    for (words, weights) in x.iter().zip(weights) {
        ahead.step();
        for i in 0..ROWS {
            let x = _mm256_set1_epi32(words[i].cast_signed());
            for j in 0..WIDTH {
                sums[i][j] = _mm256_dpbusd_avx_epi32(sums[i][j], x, weights[j]);
            }
        }
    }
    for i in 0..ROWS {
        cast_slice_mut(&mut to[i].0)[..WIDTH].copy_from_slice(&sums[i]);
    }
}

/// Each word of `x` is two numbers of 16 bits; a panel has 16 outputs.
#[target_feature(enable = "avx2")]
pub(super) fn avx2<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    to: &mut [Sums; ROWS],
) {
    let (weights, _) = cast_slice::<_, __m128i>(weights).as_chunks::<WIDTH>();
    let mut sums = [[_mm256_setzero_si256(); WIDTH]; ROWS];
    for i in 0..ROWS {
        sums[i].copy_from_slice(&cast_slice(&to[i].0)[..WIDTH]);
    }
    for (words, weights) in x.iter().zip(weights) {
        ahead.step();
        let weights = [
            _mm256_cvtepi8_epi16(weights[0]),
            _mm256_cvtepi8_epi16(weights[1]),
        ];
        for i in 0..ROWS {
            let x = _mm256_set1_epi32(words[i].cast_signed());
            for j in 0..WIDTH {
                let products = _mm256_madd_epi16(x, weights[j]);
                sums[i][j] = _mm256_add_epi32(sums[i][j], products);
            }
        }
    }
    for i in 0..ROWS {
        cast_slice_mut(&mut to[i].0)[..WIDTH].copy_from_slice(&sums[i]);
    }
}
