//! A weight as its elements, whatever it is stored as.

#[cfg(feature = "onnx")]
use super::codes::{scales, value};
use super::tensor::Tensor;
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::quantization::Quantization;

/// One weight of a [`Checkpoint`](super::Checkpoint): a tensor, or the parts of a quantised matrix.
#[derive(Debug)]
pub(crate) struct Weight<'a> {
    /// The weight itself, or its codes.
    pub(crate) tensor: Tensor<'a>,
    pub(crate) packed: Option<Packed<'a>>,
}

/// What turns codes into elements.
#[cfg_attr(
    not(any(feature = "mlx", feature = "onnx")),
    allow(dead_code, reason = "backends read it")
)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) quantization: Quantization,
    pub(crate) scales: Tensor<'a>,
    /// Of mode affine.
    pub(crate) biases: Option<Tensor<'a>>,
}

impl Weight<'_> {
    /// Of the elements, not of the words that hold their codes.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let mut shape = self.tensor.shape().to_vec();
        if let (Some(packed), Some(columns)) = (self.packed, shape.last_mut()) {
            *columns = *columns * 32 / packed.quantization.bits();
        }
        shape
    }

    pub(crate) fn elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// Gives `each` the elements in order, exactly.
    #[cfg(feature = "onnx")]
    pub(crate) fn for_each(&self, mut each: impl FnMut(f32)) -> Result<()> {
        let Some(packed) = &self.packed else {
            return self.tensor.for_each_window(|window| {
                self.tensor.dtype().decode(window, &mut each);
                Ok(())
            });
        };
        let (mode, bits) = (packed.quantization.mode(), packed.quantization.bits());
        let scales = scales(mode, &packed.scales)?;
        let biases = match packed.biases {
            Some(biases) => biases.to_f32()?,
            None => vec![0.0; scales.len()],
        };
        let mut groups = scales.into_iter().zip(biases);
        let ((mut scale, mut bias), mut left) = ((0.0, 0.0), 0);
        // Codes follow each other without gaps: what is left of one window begins the next.
        let (mut buffer, mut filled) = (0_u32, 0);
        self.tensor.for_each_window(|window| {
            for &byte in window {
                buffer |= u32::from(byte) << filled;
                filled += 8;
                while filled >= bits {
                    if left == 0 {
                        // Shapes were checked: each group has its scale.
                        (scale, bias) = groups.next().unwrap_or((f32::NAN, f32::NAN));
                        left = packed.quantization.group_size();
                    }
                    each(scale * value(mode, buffer & ((1 << bits) - 1)) + bias);
                    buffer >>= bits;
                    filled -= bits;
                    left -= 1;
                }
            }
            Ok(())
        })
    }

    /// Writes all elements to the beginning of `to`, each as `convert` makes it.
    #[cfg(feature = "onnx")]
    pub(crate) fn fill<T>(&self, to: &mut [T], convert: impl Fn(f32) -> T) -> Result<()> {
        match self.packed {
            Some(_) => {
                let mut places = to.iter_mut();
                self.for_each(|value| {
                    if let Some(place) = places.next() {
                        *place = convert(value);
                    }
                })
            }
            None => self.tensor.fill(to, convert),
        }
    }

    /// All elements; see [`Tensor::to_f32`].
    #[cfg(feature = "onnx")]
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        let mut values = self.tensor.room_for(self.elements())?;
        self.fill(&mut values, |value| value)?;
        Ok(values)
    }
}
