//! Arrays to bytes and back, and their checksum.

use std::fmt::Debug;
use std::io::{self, Read, Write};

use bytemuck::Pod;
use ort::value::{PrimitiveTensorElementType, Tensor as Array};
use serde::{Deserialize, Serialize};

use crate::backend::onnx::pages;

/// Bytes read at a time: they are still in a near cache when they are summed.
const CHUNK: usize = 1 << 16;

/// Element types by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Element {
    F32,
    Int8,
    Int16,
}

impl Element {
    /// Bytes of an array. Saturates: no file is as long as that.
    pub(super) fn bytes(self, shape: &[usize]) -> u64 {
        let size = match self {
            Self::F32 => 4,
            Self::Int8 => 1,
            Self::Int16 => 2,
        };
        let axes = shape.iter().map(|&axis| axis as u64);
        axes.fold(size, u64::saturating_mul)
    }
}

/// What an array in the file may hold.
pub(super) trait Stored: PrimitiveTensorElementType + Debug + Pod {
    const ELEMENT: Element;
}

impl Stored for f32 {
    const ELEMENT: Element = Element::F32;
}

impl Stored for i8 {
    const ELEMENT: Element = Element::Int8;
}

impl Stored for i16 {
    const ELEMENT: Element = Element::Int16;
}

pub(super) fn write<T: Stored>(out: &mut impl Write, array: &Array<T>) -> io::Result<()> {
    out.write_all(bytes(array))
}

pub(super) fn checksum_of<T: Stored>(array: &Array<T>) -> u64 {
    checksum(bytes(array))
}

pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = Checksum::default();
    bytes.chunks(CHUNK).for_each(|chunk| sum.add(chunk));
    sum.0
}

/// Also gives the checksum of what was read.
pub(super) fn read<T: Stored>(
    file: &mut impl Read,
    shape: &[usize],
) -> io::Result<(Array<T>, u64)> {
    let array = pages::array::<T>(shape);
    let mut array = array.map_err(io::Error::other)?;
    let mut sum = Checksum::default();
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(array.extract_tensor_mut().1);
    for chunk in bytes.chunks_mut(CHUNK) {
        file.read_exact(chunk)?;
        sum.add(chunk);
    }
    Ok((array, sum.0))
}

/// As they are in memory: ONNX Runtime runs on little-endian machines only.
fn bytes<T: Stored>(array: &Array<T>) -> &[u8] {
    bytemuck::cast_slice(array.extract_tensor().1)
}

/// Sees any change of a word and any exchange of two; not meant against an attacker.
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    /// All calls but the last must bring whole words.
    fn add(&mut self, bytes: &[u8]) {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15; // odd, so that multiplication loses nothing
        let (words, rest) = bytes.as_chunks::<8>();
        for &word in words {
            self.0 = (self.0.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(MIX);
        }
        for &byte in rest {
            self.0 = (self.0.rotate_left(23) ^ u64::from(byte)).wrapping_mul(MIX);
        }
    }
}
