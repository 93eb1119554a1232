//! Element types by name.

use std::io;

use ort::value::TensorElementType;
use serde::{Deserialize, Serialize};

/// What an array in the file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Element {
    F32,
    Int8,
    Uint8,
    Int16,
}

impl Element {
    /// Bytes of an array. Saturates: no file is as long as that.
    pub(super) fn bytes(self, shape: &[usize]) -> u64 {
        let size = match self {
            Self::F32 => 4,
            Self::Int8 | Self::Uint8 => 1,
            Self::Int16 => 2,
        };
        let axes = shape.iter().map(|&axis| axis as u64);
        axes.fold(size, u64::saturating_mul)
    }
}

impl TryFrom<TensorElementType> for Element {
    type Error = io::Error;

    fn try_from(element: TensorElementType) -> io::Result<Self> {
        Ok(match element {
            TensorElementType::Float32 => Self::F32,
            TensorElementType::Int8 => Self::Int8,
            TensorElementType::Uint8 => Self::Uint8,
            TensorElementType::Int16 => Self::Int16,
            other => return Err(io::Error::other(format!("no file holds {other}"))),
        })
    }
}

impl From<Element> for TensorElementType {
    fn from(element: Element) -> Self {
        match element {
            Element::F32 => Self::Float32,
            Element::Int8 => Self::Int8,
            Element::Uint8 => Self::Uint8,
            Element::Int16 => Self::Int16,
        }
    }
}
