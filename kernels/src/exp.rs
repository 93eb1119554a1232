//! The exponential function, and what is made of it: without branches, so that a loop of them is one of
//! vectors.

/// Beyond this a float's last bit is worth 1: its lower bits are the integer that was added, the even
/// one of two that are as near.
pub(super) const ROUNDING: f32 = 1.5 * (1 << 23) as f32;

/// Beyond these `exp` is nearly infinite or nearly zero in f32.
const MOST: f32 = 88.0;
const LEAST: f32 = -87.0;

/// ln 2 in two parts, of which the first has few bits: its products with small integers are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// The polynomial of exp from -ln 2 / 2 to ln 2 / 2, but for its first two terms, of Cephes.
const TERMS: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    0.166_666_66,
    0.5,
];

/// `x * sigmoid(x)`, NaN of NaN.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// To a few units of the last place; NaN of NaN, and nearly zero of what is far below it.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(LEAST, MOST);
    let rounded = x * std::f32::consts::LOG2_E + ROUNDING;
    let twos = rounded - ROUNDING;
    let rest = x - twos * LN_2[0] - twos * LN_2[1];
    let mut sum = TERMS[0];
    for term in &TERMS[1..] {
        sum = sum * rest + term;
    }
    let fraction = sum * rest * rest + rest + 1.0;
    let exponent = rounded.to_bits().wrapping_sub(ROUNDING.to_bits());
    fraction * f32::from_bits(exponent.wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silu_is_exact_to_a_millionth_from_end_to_end() {
        for i in -120_000..=120_000 {
            let x = i as f32 / 1000.0;
            let wide = f64::from(x);
            let expected = wide / (1.0 + (-wide).exp());
            let error = (f64::from(silu(x)) - expected).abs();
            assert!(error <= 1e-6 * expected.abs() + 1e-35, "{x}: {}", silu(x));
        }
        assert!(silu(f32::NAN).is_nan());
        assert_eq!(silu(f32::INFINITY), f32::INFINITY);
    }
}
