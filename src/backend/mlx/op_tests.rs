//! Known answers for every bridge function, and what becomes of C++ exceptions.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::array::Array;
use super::ffi::bridge::{self, DeviceKind, ElementType};
use crate::error::Result;

const CPU: DeviceKind = DeviceKind::Cpu;

fn array(values: &[f32], shape: &[usize]) -> Array {
    Array::build(shape, ElementType::F32, CPU, |writer| {
        values
            .iter()
            .try_for_each(|value| writer.write(&value.to_ne_bytes()))
    })
    .unwrap()
}

impl Array {
    pub(super) fn to_f32(&self) -> Result<Vec<f32>> {
        let bytes = self.astype(ElementType::F32)?.to_bytes()?;
        let elements = bytes.as_chunks().0.iter();
        Ok(elements.map(|&bytes| f32::from_ne_bytes(bytes)).collect())
    }
}

fn error(result: Result<Array>) -> String {
    match result {
        Ok(array) => panic!("expected an error, found shape {:?}", array.shape()),
        Err(e) => e.to_string(),
    }
}

fn assert_close(found: &Array, expected: &[f32]) {
    let values = found.to_f32().unwrap();
    assert_eq!(values.len(), expected.len());
    for (value, expected) in values.iter().zip(expected) {
        // One rounding of f32 on values of this size, twice over.
        assert!((value - expected).abs() < 3e-7, "{values:?}");
    }
}

#[test]
fn add_broadcasts() {
    let sum = array(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).add(&array(&[10.0, 20.0], &[2]));
    assert_eq!(sum.unwrap().to_f32().unwrap(), [11.0, 22.0, 13.0, 24.0]);
}

#[test]
fn addmm_adds_a_product() {
    let c = array(&[10.0, 20.0, 30.0, 40.0], &[2, 2]);
    let a = array(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
    let b = array(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], &[3, 2]);
    let sum = c.addmm(&a, &b).unwrap();
    assert_eq!(sum.to_f32().unwrap(), [14.0, 25.0, 40.0, 51.0]);
    assert_eq!(c.to_f32().unwrap(), [10.0, 20.0, 30.0, 40.0]);
}

#[test]
fn multiply_and_broadcast_to_repeat() {
    let product = array(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).multiply(&array(&[10.0, 20.0], &[2]));
    assert_eq!(product.unwrap().to_f32().unwrap(), [10.0, 40.0, 30.0, 80.0]);
    let repeated = array(&[1.0, 2.0], &[1, 2]).broadcast_to(&[2, 2]).unwrap();
    assert_eq!(repeated.to_f32().unwrap(), [1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn concatenate_joins_along_an_axis() {
    let (a, b) = (array(&[1.0, 2.0], &[2, 1]), array(&[3.0, 4.0], &[2, 1]));
    let joined = a.concatenate(&b, 1).unwrap();
    assert_eq!(joined.to_f32().unwrap(), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn astype_rounds_to_nearest_even() {
    let x = array(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 70000.0], &[3]);
    let bf16 = x.astype(ElementType::Bf16).unwrap();
    assert_eq!(bf16.element_type().unwrap(), ElementType::Bf16);
    assert_eq!(bf16.to_f32().unwrap(), [1.0, 1.0 + 4.0 / 256.0, 70144.0]);
    let f16 = x.astype(ElementType::F16).unwrap();
    assert_eq!(f16.to_f32().unwrap()[2], f32::INFINITY);
}

#[test]
fn matmul_multiplies_matrices() {
    let a = array(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]);
    let b = array(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], &[3, 2]);
    let product = a.matmul(&b).unwrap();
    assert_eq!(product.shape(), [2, 2]);
    assert_eq!(product.to_f32().unwrap(), [4.0, 5.0, 10.0, 11.0]);
}

#[test]
fn reshape_slice_and_transpose_move_elements() {
    let x = array(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[6]);
    let x = x.reshape(&[2, 3]).unwrap();
    assert_eq!(
        x.transpose(&[1, 0]).unwrap().to_f32().unwrap(),
        [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
    );
    assert_eq!(
        x.slice(1, 1, 3).unwrap().to_f32().unwrap(),
        [1.0, 2.0, 4.0, 5.0]
    );
    assert_eq!(
        error(x.slice(1, 2, 4)),
        "MLX: slice: 2..4 of axis 1 in shape [2, 3]"
    );
}

#[test]
fn swiglu_is_silu_of_the_gate_times_up() {
    let product = array(&[0.0, 1.0, -2.0], &[3]).swiglu(&array(&[5.0, 2.0, 3.0], &[3]));
    // x * sigmoid(x): sigmoid(1) = 0.731058579, sigmoid(-2) = 0.119202922
    assert_close(
        &product.unwrap(),
        &[0.0, 2.0 * 0.731_058_6, -6.0 * 0.119_202_92],
    );
}

#[test]
fn take_rows_gathers_and_refuses_an_index_past_the_end() {
    let table = array(&[0.0, 1.0, 10.0, 11.0, 20.0, 21.0], &[3, 2]);
    let taken = table.take_rows(&[2, 0], &[1, 2]).unwrap();
    assert_eq!(taken.shape(), [1, 2, 2]);
    assert_eq!(taken.to_f32().unwrap(), [20.0, 21.0, 0.0, 1.0]);
    assert_eq!(
        error(table.take_rows(&[0, 3], &[2])),
        "MLX: take: index 3 of 3 rows"
    );
}

#[test]
fn rms_norm_divides_by_the_root_of_the_mean_square() {
    let normed = array(&[3.0, 4.0], &[1, 2]).rms_norm(&array(&[1.0, 2.0], &[2]), 0.0);
    let rms = 12.5f32.sqrt();
    assert_close(&normed.unwrap(), &[3.0 / rms, 8.0 / rms]);
    let normed = array(&[3.0, 4.0], &[1, 2]).rms_norm_unscaled(0.0);
    assert_close(&normed.unwrap(), &[3.0 / rms, 4.0 / rms]);
}

#[test]
fn rope_rotates_halves_by_position() {
    // One head of four elements, two positions: pairs are (0, 2) and (1, 3), not (0, 1) and (2, 3).
    let x = array(&[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 4]);
    let rotated = x.rope(100.0, 0).unwrap();
    let (s0, c0) = 1f32.sin_cos();
    let (s1, c1) = 0.1f32.sin_cos(); // 100^(-2/4)
    let second = [
        c0 - 3.0 * s0,
        2.0 * c1 - 4.0 * s1,
        s0 + 3.0 * c0,
        2.0 * s1 + 4.0 * c1,
    ];
    assert_close(&rotated, &[&[1.0, 2.0, 3.0, 4.0], &second[..]].concat());
    let offset = x.rope(100.0, 1).unwrap().slice(2, 0, 1).unwrap();
    assert_close(&offset, &second);
    // Two sequences of one position, each at its own.
    let x = array(&[1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0], &[2, 1, 1, 4]);
    let each = x.rope_from(100.0, &[1, 0]).unwrap();
    assert_close(&each, &[&second[..], &[1.0, 2.0, 3.0, 4.0]].concat());
}

#[test]
fn causal_attention_sees_no_later_key_and_shares_keys_among_heads() {
    // Two query heads on one key/value head; scores 0, so each position averages its past.
    let queries = array(&[0.0; 2 * 3 * 2], &[1, 2, 3, 2]);
    let keys = array(&[1.0; 3 * 2], &[1, 1, 3, 2]);
    let values = array(&[3.0, 0.0, 6.0, 0.0, 9.0, 3.0], &[1, 1, 3, 2]);
    let attended = queries.causal_attention(&keys, &values, 1.0).unwrap();
    let head = [3.0, 0.0, 4.5, 0.0, 6.0, 1.0];
    assert_close(&attended, &[head, head].concat());
}

#[test]
fn attention_sees_all_keys_or_those_of_its_mask() {
    let queries = array(&[0.0; 2 * 2], &[2, 2, 1, 1]);
    let keys = array(&[1.0; 2 * 3], &[2, 1, 3, 1]);
    let values = array(&[3.0, 6.0, 9.0, 30.0, 60.0, 90.0], &[2, 1, 3, 1]);
    let all = queries.attention(&keys, &values, 1.0, None).unwrap();
    assert_close(&all, &[6.0, 6.0, 60.0, 60.0]);
    let seen = [true, true, false, true, false, false];
    let mask = Array::from_bools(seen.into_iter(), &[2, 1, 1, 3], CPU).unwrap();
    let some = queries.attention(&keys, &values, 1.0, Some(&mask)).unwrap();
    assert_close(&some, &[4.5, 4.5, 30.0, 30.0]);
}

#[test]
fn causal_attention_weighs_by_scaled_scores() {
    let queries = array(&[0.0, 2.0], &[1, 1, 2, 1]);
    let keys = array(&[1.0, 2.0], &[1, 1, 2, 1]);
    let values = array(&[0.0, 1.0], &[1, 1, 2, 1]);
    let attended = queries.causal_attention(&keys, &values, 0.5).unwrap();
    // softmax(2 * 0.5 * [1, 2])[1] = sigmoid(1)
    assert_close(&attended, &[0.0, 0.731_058_6]);
}

#[test]
fn building_refuses_missing_and_surplus_bytes_and_sizes_past_2_31() {
    let build = |shape: &[usize], bytes: usize| {
        Array::build(shape, ElementType::F32, CPU, |w| w.write(&vec![0; bytes]))
    };
    assert_eq!(
        error(build(&[2], 4)),
        "MLX: write: 4 of 8 bytes were written"
    );
    assert_eq!(
        error(build(&[2], 12)),
        "MLX: write: 12 bytes, and room for 8"
    );
    assert_eq!(
        error(build(&[1 << 20, 1 << 11], 0)),
        "MLX: allocate: shape [1048576, 2048] has 2^31 elements or more"
    );
}

#[test]
fn an_exception_is_an_error_that_names_the_operation_and_the_process_lives() {
    let a = array(&[1.0; 6], &[2, 3]);
    assert_eq!(
        error(a.matmul(&a)),
        "MLX: matmul: [matmul] Last dimension of first input with shape (2,3) must match second to last dimension of second input with shape (2,3)."
    );
    assert_eq!(
        error(a.reshape(&[4])),
        "MLX: reshape: [reshape] Cannot reshape array of size 6 into shape (4)."
    );
    assert_eq!(a.to_f32().unwrap(), [1.0; 6]);
}

#[test]
fn what_is_not_a_std_exception_is_an_error_too() {
    assert_eq!(
        bridge::throw_unknown().unwrap_err().what(),
        "an exception that is not a std::exception"
    );
}

#[test]
fn device_functions_answer() {
    assert_eq!(bridge::version().unwrap(), "0.32.4");
    assert!(bridge::library_path().unwrap().contains("libmlx"));
    assert!(bridge::is_available(CPU).unwrap());
    bridge::device_info(CPU).unwrap();
    bridge::disable_compile().unwrap();
    let x = array(&[1.0; 1024], &[1024]);
    assert!(bridge::active_memory().unwrap() >= 4096);
    assert!(bridge::peak_memory().unwrap() >= 4096);
    drop(x);
    bridge::synchronize(CPU).unwrap();
    bridge::clear_cache().unwrap();
    bridge::cache_memory().unwrap();
}
