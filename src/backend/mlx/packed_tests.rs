//! Known answers for quantised matrices, and agreement with the decoder of checkpoints.
#![allow(clippy::unwrap_used)]

use super::array::Array;
use super::ffi::bridge::{DeviceKind, ElementType};
use super::packed::PackedMatrix;
use crate::quantization::{Quantization, QuantizationMode};

const CPU: DeviceKind = DeviceKind::Cpu;

fn array(shape: &[usize], value: impl Fn(usize) -> f32) -> Array {
    Array::build(shape, ElementType::F32, CPU, |writer| {
        let elements = 0..shape.iter().product();
        elements
            .map(value)
            .try_for_each(|value| writer.write(&value.to_ne_bytes()))
    })
    .unwrap()
}

/// Row `r` holds `(r + 1) * code - 2`, each code of four bits twice in a group of 32.
fn four_bits() -> (Array, PackedMatrix) {
    let matrix = array(&[2, 32], |i| ((i / 32 + 1) * (i % 16)) as f32 - 2.0);
    let quantization = Quantization::new(QuantizationMode::Affine, 4, 32).unwrap();
    let packed = PackedMatrix::quantize(&matrix, quantization).unwrap();
    (matrix, packed)
}

#[test]
fn affine_codes_are_least_significant_bits_first_and_scaled() {
    let (_, packed) = four_bits();
    let word = [0x10_u8, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe];
    // MLX may count codes from the other end, with the scale's sign turned.
    let codes = packed.weight.to_bytes().unwrap();
    let turned: Vec<u8> = codes.iter().map(|byte| !byte).collect();
    let expected = word.repeat(4);
    assert!(codes == expected || turned == expected, "{codes:x?}");
    let sign = if codes == expected { 1.0 } else { -1.0 };
    assert_eq!(packed.scales.to_f32().unwrap(), [sign, 2.0 * sign]);
    let first = if codes == expected {
        [-2.0, -2.0]
    } else {
        [13.0, 28.0]
    };
    assert_eq!(packed.biases.unwrap().to_f32().unwrap(), first);
}

#[test]
fn quantised_products_and_rows_are_those_of_the_matrix() {
    let (matrix, packed) = four_bits();
    let x = array(&[1, 32], |i| i as f32);
    let exact = x.matmul(&matrix.transpose(&[1, 0]).unwrap()).unwrap();
    let product = packed.multiplied(&x).unwrap();
    assert_eq!(product.shape(), [1, 2]);
    assert_eq!(product.to_f32().unwrap(), exact.to_f32().unwrap());
    let rows = packed.take_rows(&[1, 0, 1], ElementType::F32).unwrap();
    let expected = matrix.take_rows(&[1, 0, 1], &[3]).unwrap();
    assert_eq!(rows.to_f32().unwrap(), expected.to_f32().unwrap());
    let half = packed
        .multiplied(&x.astype(ElementType::F16).unwrap())
        .unwrap();
    assert_eq!(half.element_type().unwrap(), ElementType::F16);
}

#[test]
fn other_modes_have_byte_scales_and_no_biases() {
    for (mode, bits, group_size) in [
        (QuantizationMode::Mxfp4, 4, 32),
        (QuantizationMode::Mxfp8, 8, 32),
        (QuantizationMode::Nvfp4, 4, 16),
    ] {
        let quantization = Quantization::new(mode, bits, group_size).unwrap();
        // All three hold 3 and 6, the largest of four bits.
        let matrix = array(&[1, 64], |i| 3.0 * (i % 2 + 1) as f32);
        let packed = PackedMatrix::quantize(&matrix, quantization).unwrap();
        assert!(packed.biases.is_none());
        assert_eq!(packed.scales.element_type().unwrap(), ElementType::U8);
        let rows = packed.take_rows(&[0], ElementType::F32).unwrap();
        assert_eq!(rows.to_f32().unwrap(), matrix.to_f32().unwrap(), "{mode:?}");
    }
}
