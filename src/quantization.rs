//! How the matrices of a pre-quantised checkpoint are packed.

use std::fmt;

/// Rows are cut into groups; the elements of a group are codes of a few bits and share a scale.
/// One that exists is one that MLX computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantization {
    mode: QuantizationMode,
    bits: usize,
    group_size: usize,
}

/// What codes and scales mean, as MLX names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum QuantizationMode {
    /// Integers from 0: an element is `scale * code + bias`.
    Affine,
    /// 4-bit floats (E2M1); scales are powers of two (E8M0).
    Mxfp4,
    /// 8-bit floats (E4M3); scales are powers of two (E8M0).
    Mxfp8,
    /// 4-bit floats (E2M1); scales are 8-bit floats (E4M3).
    Nvfp4,
}

/// What [`Quantization::new`] takes.
pub(crate) const SUPPORTED: &str = "affine with 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or \
    128, mxfp4 with 4 bits in groups of 32, mxfp8 with 8 bits in groups of 32, or nvfp4 with 4 \
    bits in groups of 16";

impl QuantizationMode {
    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Affine, Self::Mxfp4, Self::Mxfp8, Self::Nvfp4]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    /// As `config.json` spells it: `affine`, `mxfp4`, `mxfp8`, `nvfp4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Mxfp4 => "mxfp4",
            Self::Mxfp8 => "mxfp8",
            Self::Nvfp4 => "nvfp4",
        }
    }

    /// Bits and group size where a configuration does not give them: MLX's own defaults.
    #[must_use]
    pub fn defaults(self) -> (usize, usize) {
        match self {
            Self::Affine => (4, 64),
            Self::Mxfp4 => (4, 32),
            Self::Mxfp8 => (8, 32),
            Self::Nvfp4 => (4, 16),
        }
    }
}

impl Quantization {
    /// `bits` per element in groups of `group_size` elements; none if MLX has no such packing.
    #[must_use]
    pub fn new(mode: QuantizationMode, bits: usize, group_size: usize) -> Option<Self> {
        let supported = match mode {
            QuantizationMode::Affine => {
                matches!(bits, 2..=6 | 8) && matches!(group_size, 32 | 64 | 128)
            }
            _ => (bits, group_size) == mode.defaults(),
        };
        supported.then_some(Self {
            mode,
            bits,
            group_size,
        })
    }

    /// What codes and scales mean.
    #[must_use]
    pub fn mode(self) -> QuantizationMode {
        self.mode
    }

    /// Bits per element.
    #[must_use]
    pub fn bits(self) -> usize {
        self.bits
    }

    /// Elements of a row that share a scale.
    #[must_use]
    pub fn group_size(self) -> usize {
        self.group_size
    }
}

impl fmt::Display for Quantization {
    /// `affine-4bit-g64`; `mxfp4` and the like, which have one packing each, by name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            QuantizationMode::Affine => write!(f, "affine-{}bit-g{}", self.bits, self.group_size),
            mode => f.write_str(mode.name()),
        }
    }
}
