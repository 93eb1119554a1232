//! What a caller asks for.

use super::super::tuning::Tuning;
use super::super::{BackendChoice, Device, Precision};
#[cfg(feature = "mlx")]
use super::mlx;
#[cfg(feature = "onnx")]
use super::onnx;

/// What to do where no accelerator can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fallback {
    #[default]
    Allow,
    Forbid,
}

/// The most bytes of keys and values that are kept of prefixes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefixBytes(pub(crate) usize);

impl Default for PrefixBytes {
    /// Of the 0.6B a prefix of 20 tokens takes 4.4 MiB in f32.
    fn default() -> Self {
        Self(64 << 20)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) backend: BackendChoice,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) fallback: Fallback,
    pub(crate) prefixes: PrefixBytes,
    pub(crate) batch_tokens: Option<usize>,
    pub(crate) tuning: Tuning,
    #[cfg(feature = "mlx")]
    pub(crate) mlx: mlx::Limits,
    #[cfg(feature = "onnx")]
    pub(crate) onnx: onnx::Options,
}
