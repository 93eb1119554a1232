//! Element types of weights.

use std::fmt;

use half::{bf16, f16};

/// How one element of a tensor is stored.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an IEEE 754 single.
    Bf16,
    /// Integers with a scale for each row or column; no checkpoint is stored so, but a backend can
    /// hold one so.
    Int8,
    /// Words that hold the codes of a quantised matrix, least significant bits first.
    U32,
    /// Scales of a quantised matrix, as floats of 8 bits.
    U8,
}

impl Dtype {
    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Int8 | Self::U8 => 1,
        }
    }

    /// Whether elements are numbers by themselves.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Gives `each` the elements of little-endian `bytes` in order, as f32, which holds both half
    /// types exactly. Words of codes come as numbers, rounded.
    #[cfg(feature = "onnx")]
    pub(crate) fn decode(self, bytes: &[u8], each: impl FnMut(f32)) {
        let (quads, pairs) = (bytes.as_chunks().0, bytes.as_chunks().0);
        match self {
            Self::F32 => quads.iter().map(|&b| f32::from_le_bytes(b)).for_each(each),
            Self::F16 => {
                let values = pairs.iter().map(|&b| f16::from_le_bytes(b).to_f32());
                values.for_each(each);
            }
            Self::Bf16 => {
                let values = pairs.iter().map(|&b| bf16::from_le_bytes(b).to_f32());
                values.for_each(each);
            }
            Self::U32 => quads
                .iter()
                .map(|&b| u32::from_le_bytes(b) as f32)
                .for_each(each),
            Self::U8 => bytes.iter().map(|&b| f32::from(b)).for_each(each),
            Self::Int8 => bytes
                .iter()
                .map(|&b| f32::from(i8::from_le_bytes([b])))
                .for_each(each),
        }
    }

    /// Writes the elements of `bytes`, as [`decode`](Self::decode) gives them, to the beginning of
    /// `to`, each as `convert` makes it: in loops that a compiler makes vectors of.
    pub(crate) fn fill<T>(self, bytes: &[u8], to: &mut [T], convert: impl Fn(f32) -> T) {
        /// `zip` over two slices, which needs no check of bounds.
        fn each<const N: usize, T>(bytes: &[u8], to: &mut [T], convert: impl Fn([u8; N]) -> T) {
            let elements = bytes.as_chunks().0;
            to.iter_mut()
                .zip(elements)
                .for_each(|(place, &bytes)| *place = convert(bytes));
        }

        match self {
            Self::F32 => each(bytes, to, |b| convert(f32::from_le_bytes(b))),
            Self::F16 => each(bytes, to, |b| convert(f16::from_le_bytes(b).to_f32())),
            Self::Bf16 => each(bytes, to, |b| convert(bf16::from_le_bytes(b).to_f32())),
            Self::U32 => each(bytes, to, |b| convert(u32::from_le_bytes(b) as f32)),
            Self::U8 => each(bytes, to, |[b]| convert(f32::from(b))),
            Self::Int8 => each(bytes, to, |b| convert(f32::from(i8::from_le_bytes(b)))),
        }
    }

    /// The type that a safetensors header calls `name`.
    pub(crate) fn from_safetensors(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            "U32" => Some(Self::U32),
            "U8" => Some(Self::U8),
            _ => None,
        }
    }

    /// The type that `config.json` calls `name`.
    pub(crate) fn from_config(name: &str) -> Option<Self> {
        match name {
            "float32" => Some(Self::F32),
            "float16" => Some(Self::F16),
            "bfloat16" => Some(Self::Bf16),
            _ => None,
        }
    }
}

impl fmt::Display for Dtype {
    /// As in a safetensors header, where it can be in one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Int8 => "INT8",
            Self::U32 => "U32",
            Self::U8 => "U8",
        })
    }
}

#[cfg(all(test, feature = "onnx"))]
mod tests {
    use super::*;

    #[test]
    fn elements_are_filled_in_as_they_are_decoded_one_by_one() {
        let bytes: Vec<u8> = (0..=255).flat_map(|high| [high ^ 0x5a, high]).collect();
        let types = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Int8, Dtype::U8];
        for dtype in types.into_iter().chain([Dtype::U32]) {
            let mut each = Vec::new();
            dtype.decode(&bytes, |value| each.push(value.to_bits()));
            assert_eq!(each.len(), bytes.len() / dtype.size(), "{dtype}");
            let mut all = vec![7; each.len() + 1];
            dtype.fill(&bytes, &mut all, f32::to_bits);
            assert_eq!(all.pop(), Some(7), "{dtype}");
            assert_eq!(all, each, "{dtype}");
        }
    }
}
