//! Codes and scales of a quantised matrix -> the numbers they stand for.

use super::tensor::Tensor;
use crate::error::Result;
use crate::quantization::QuantizationMode;

/// The scale of each group.
pub(super) fn scales(mode: QuantizationMode, stored: &Tensor<'_>) -> Result<Vec<f32>> {
    let mut scales = stored.to_f32()?;
    let decode: fn(u32) -> f32 = match mode {
        QuantizationMode::Affine => return Ok(scales),
        QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 => e8m0,
        QuantizationMode::Nvfp4 => e4m3,
    };
    for scale in &mut scales {
        *scale = decode(*scale as u32);
    }
    Ok(scales)
}

/// What a code stands for before it is scaled.
pub(super) fn value(mode: QuantizationMode, code: u32) -> f32 {
    match mode {
        QuantizationMode::Affine => code as f32,
        QuantizationMode::Mxfp4 | QuantizationMode::Nvfp4 => e2m1(code),
        QuantizationMode::Mxfp8 => e4m3(code),
    }
}

/// A sign, two bits of exponent, one of mantissa.
fn e2m1(code: u32) -> f32 {
    const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let magnitude = MAGNITUDES[(code & 7) as usize];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// A sign, four bits of exponent, three of mantissa; no infinities.
fn e4m3(code: u32) -> f32 {
    let (exponent, mantissa) = ((code >> 3) & 15, (code & 7) as f32);
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent as i32 - 7),
    };
    if code & 128 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// A power of two.
fn e8m0(code: u32) -> f32 {
    match code {
        255 => f32::NAN,
        _ => 2f32.powi(code as i32 - 127),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_follow_the_published_tables() {
        // Open Compute Project, 8-bit Floating Point Specification, table 2; MX formats, 5.4.1.
        let largest = [e4m3(0x7e), e4m3(0xfe)];
        assert_eq!(largest, [448.0, -448.0]);
        assert_eq!(
            [e4m3(0x01), e4m3(0x07)],
            [2f32.powi(-9), 0.875 * 2f32.powi(-6)]
        );
        assert_eq!([e4m3(0x08), e4m3(0x38)], [2f32.powi(-6), 1.0]);
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        assert_eq!(
            [e8m0(127), e8m0(0), e8m0(254)],
            [1.0, 2f32.powi(-127), 2f32.powi(127)]
        );
        assert!(e8m0(255).is_nan());
    }

    #[test]
    fn four_bit_floats_follow_the_published_table() {
        let values: Vec<f32> = (0..16).map(e2m1).collect();
        let positive = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let negative = positive.map(|value| -value);
        assert_eq!(values, [positive, negative].concat());
    }
}
