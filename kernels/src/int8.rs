//! Rows that are quantised as they come by weights in int8: sums of products of integers, which are
//! exact, and a scale of each row and of each output.

#[cfg(target_arch = "aarch64")]
mod arm;
mod block;
mod packed;
mod portable;
mod product;
mod rows;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::ahead::Ahead;

pub use product::Int8Product;
pub use rows::QuantizedRows;

/// What the largest element of a row, and of an output's weights, becomes.
const LARGEST: f32 = i8::MAX as f32;

/// More inputs could lead a sum beyond 32 bits.
pub(super) const MOST_INPUTS: usize = i32::MAX as usize / (u8::MAX as usize * i8::MAX as usize);

/// Outputs of the widest panel.
const MOST_OUTPUTS: usize = 32;

/// A row's sums for a panel's outputs, of which there may be fewer.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Sums([i32; MOST_OUTPUTS]);

/// The instructions that multiply, the best of those that the processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    /// AVX with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni256,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON with products of four bytes at a time.
    #[cfg(target_arch = "aarch64")]
    Dot,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// How a row's integers are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other processors multiply signed bytes")
)]
enum Held {
    /// As bytes of which 128 is zero: the other factor is signed.
    Biased,
    Signed,
    /// In 16 bits.
    Wide,
}

impl Kind {
    /// All that this processor has, the best first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let kinds = [
            (
                Self::Vnni512,
                is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512f"),
            ),
            (Self::Vnni256, is_x86_feature_detected!("avxvnni")),
            (Self::Avx2, is_x86_feature_detected!("avx2")),
            (Self::Portable, true),
        ];
        #[cfg(target_arch = "aarch64")]
        let kinds = [
            (
                Self::Dot,
                std::arch::is_aarch64_feature_detected!("dotprod"),
            ),
            (Self::Neon, std::arch::is_aarch64_feature_detected!("neon")),
            (Self::Portable, true),
        ];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let kinds = [(Self::Portable, true)];
        kinds
            .into_iter()
            .filter_map(|(kind, is_there)| is_there.then_some(kind))
    }

    pub(super) fn best() -> Self {
        Self::all().next().unwrap_or(Self::Portable)
    }

    /// Outputs of a panel.
    pub(super) fn width(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => 32,
            _ => 16,
        }
    }

    /// Rows whose sums are in registers.
    fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => 12,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 | Self::Avx2 => 6,
            #[cfg(target_arch = "aarch64")]
            Self::Dot => 6,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 3,
            Self::Portable => 4,
        }
    }

    fn held(self) -> Held {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 | Self::Vnni256 => Held::Biased,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Held::Wide,
            _ => Held::Signed,
        }
    }

    /// Inputs whose integers are multiplied at a time.
    pub(super) fn inputs(self) -> usize {
        match self.held() {
            Held::Wide => 2,
            _ => 4,
        }
    }

    /// The sums of rows, of which one word each makes a step, and of a panel's weights, beginning with
    /// those that are in `sums`.
    fn multiply<const ROWS: usize>(
        self,
        x: &[[u32; ROWS]],
        weights: &[u8],
        ahead: &mut Ahead,
        sums: &mut [Sums; ROWS],
    ) {
        #[allow(unsafe_code, reason = "instructions that not every processor has")]
        match self {
            // SAFETY: `Kind` is of those that `all` found, so the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => unsafe { x86::vnni512(x, weights, ahead, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 => unsafe { x86::vnni256(x, weights, ahead, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(x, weights, ahead, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Dot => unsafe { arm::dot(x, weights, ahead, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { arm::neon(x, weights, ahead, sums) },
            Self::Portable => portable::multiply(x, weights, ahead, sums),
        }
    }
}
