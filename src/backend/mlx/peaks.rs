//! What MLX reaches at best on a device: a large product of matrices, and a sum of large arrays.

use super::array::Array;
use super::ffi::bridge::{DeviceKind, ElementType};
use crate::backend::{Peaks, peaks};
use crate::error::Result;

/// Rows and columns. The library's processor build multiplies slowly, and is for tests.
fn size(device: DeviceKind) -> usize {
    match device {
        DeviceKind::Gpu => 4096,
        _ => 256,
    }
}

pub(super) fn measure(device: DeviceKind, element_type: ElementType) -> Result<Peaks> {
    let size = size(device);
    let ones = |shape: &[usize]| {
        let array = Array::build(shape, ElementType::F32, device, |writer| {
            let row = vec![1.0_f32.to_ne_bytes(); size].concat();
            (0..size).try_for_each(|_| writer.write(&row))
        })?;
        let array = array.astype(element_type)?;
        array.eval().map(|()| array)
    };
    let a = ones(&[size, size])?;
    let bytes = (size * size * element_size(element_type)) as f64;
    Ok(Peaks {
        flops: Some(peaks::rate(2.0 * (size as f64).powi(3), || {
            a.matmul(&a)?.eval()
        })?),
        int8_flops: None,
        // Two arrays are read and one is written.
        bytes: match device {
            DeviceKind::Gpu => {
                let b = ones(&[size, size])?;
                Some(peaks::rate(3.0 * bytes, || a.add(&b)?.eval())?)
            }
            _ => Some(peaks::memory_rate(1)),
        },
    })
}

fn element_size(element_type: ElementType) -> usize {
    match element_type {
        ElementType::F16 | ElementType::Bf16 => 2,
        _ => 4,
    }
}
