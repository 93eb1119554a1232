//! Arrays to bytes and back, and their checksum.

use std::fmt::Debug;
use std::io::{self, Read, Write};

use ort::memory::Allocator;
use ort::value::{PrimitiveTensorElementType, Tensor as Array};
use serde::{Deserialize, Serialize};

/// Bytes converted at a time.
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
pub(super) trait Stored: PrimitiveTensorElementType + Debug + Copy {
    const ELEMENT: Element;
    const SIZE: usize;
    fn put(self, bytes: &mut [u8]);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! stored {
    ($type:ty, $element:ident) => {
        impl Stored for $type {
            const ELEMENT: Element = Element::$element;
            const SIZE: usize = size_of::<Self>();

            fn put(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }

            fn take(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }
        }
    };
}
stored!(f32, F32);
stored!(i8, Int8);
stored!(i16, Int16);

pub(super) fn write<T: Stored>(out: &mut impl Write, array: &Array<T>) -> io::Result<()> {
    each_chunk(array, |bytes| out.write_all(bytes))
}

pub(super) fn checksum_of<T: Stored>(array: &Array<T>) -> u64 {
    let mut sum = Checksum::default();
    // Nothing in it can fail.
    let _ = each_chunk(array, |bytes| {
        sum.add(bytes);
        Ok(())
    });
    sum.0
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
    let array = Array::<T>::new(&Allocator::default(), shape);
    let mut array = array.map_err(io::Error::other)?;
    let mut bytes = vec![0; CHUNK];
    let mut sum = Checksum::default();
    for values in array.extract_tensor_mut().1.chunks_mut(CHUNK / T::SIZE) {
        let bytes = &mut bytes[..values.len() * T::SIZE];
        file.read_exact(bytes)?;
        sum.add(bytes);
        for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(T::SIZE)) {
            *value = T::take(bytes);
        }
    }
    Ok((array, sum.0))
}

fn each_chunk<T: Stored>(
    array: &Array<T>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    for values in array.extract_tensor().1.chunks(CHUNK / T::SIZE) {
        let bytes = &mut bytes[..values.len() * T::SIZE];
        for (value, bytes) in values.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            value.put(bytes);
        }
        each(bytes)?;
    }
    Ok(())
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
