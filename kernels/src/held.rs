//! What weights are held as, and how they become f32.

use pulp::Simd;

/// How a vector of memory holds weights.
pub(super) trait Held<S: Simd> {
    type Vector: Copy;
    /// Weights of an output in each of its elements.
    const WEIGHTS: usize;
    /// The first weight of each output, in f32.
    fn first(simd: S, vector: Self::Vector) -> S::f32s;
    /// The second, if there is one, by a mask of the upper halves of words.
    fn second(simd: S, vector: Self::Vector, upper: S::u32s) -> S::f32s;
}

/// f32.
pub(super) struct Whole;

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
pub(super) struct Halves;

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
