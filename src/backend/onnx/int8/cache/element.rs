//! What the file may hold, by name.

use std::io;

use kernels::Layout;
use ort::value::TensorElementType;
use serde::{Deserialize, Serialize};

/// How the elements of an array, or of the matrix of a linear layer, are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Element {
    F32,
    Int16,
    F32Panels,
    Int8Panels,
}

impl Element {
    /// Bytes of what has this shape. More than any file's, if nothing has.
    pub(super) fn bytes(self, shape: &[usize]) -> u64 {
        let size = match self {
            Self::F32 => 4,
            Self::Int16 => 2,
            Self::F32Panels | Self::Int8Panels => {
                let matrix = shape.try_into().ok();
                let layout = matrix.and_then(|shape| self.layout(shape));
                return layout.map_or(u64::MAX, |layout| layout.len() as u64);
            }
        };
        let axes = shape.iter().map(|&axis| axis as u64);
        axes.fold(size, u64::saturating_mul)
    }

    /// How a matrix `(out, in)` lies in memory, if it does in panels.
    pub(super) fn layout(self, shape: [usize; 2]) -> Option<Layout> {
        let element = match self {
            Self::F32Panels => kernels::Element::F32,
            Self::Int8Panels => kernels::Element::Int8,
            Self::F32 | Self::Int16 => return None,
        };
        // So many that their bytes can be counted.
        let elements = shape
            .iter()
            .try_fold(1_usize, |all, axis| all.checked_mul(*axis))?;
        (elements < usize::MAX / 1024).then(|| Layout::new(shape, element))?
    }
}

impl TryFrom<TensorElementType> for Element {
    type Error = io::Error;

    fn try_from(element: TensorElementType) -> io::Result<Self> {
        Ok(match element {
            TensorElementType::Float32 => Self::F32,
            TensorElementType::Int16 => Self::Int16,
            other => return Err(unknown(other)),
        })
    }
}

impl TryFrom<kernels::Element> for Element {
    type Error = io::Error;

    fn try_from(element: kernels::Element) -> io::Result<Self> {
        Ok(match element {
            kernels::Element::F32 => Self::F32Panels,
            kernels::Element::Int8 => Self::Int8Panels,
            other @ kernels::Element::Bf16 => return Err(unknown(other)),
        })
    }
}

fn unknown(element: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("no file holds {element:?}"))
}
