//! What is left open and changes no vector: threads, and the tokens of a batch. Decided by short
//! measurements at a model's first start on a machine, and kept.
//!
//! Precision is no such thing. It names the vector space, so a clock must not decide it: two starts,
//! or two machines of one platform, would not agree which index a vector belongs to.

#[cfg(any(feature = "mlx", feature = "onnx"))]
mod batches;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod cache;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod machine;
#[cfg(feature = "onnx")]
mod threads;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod tuner;

use std::fmt;
use std::path::PathBuf;

#[cfg(any(feature = "mlx", feature = "onnx", all(test, feature = "service")))]
use super::{DeviceKind, Precision};

#[cfg(any(feature = "mlx", feature = "onnx"))]
pub(super) use batches::batch_tokens;
#[cfg(feature = "mlx")]
pub(super) use batches::trial_batch;
#[cfg(feature = "onnx")]
pub(super) use batches::{SEQUENCE, least_times};
#[cfg(feature = "onnx")]
pub(super) use machine::{cores, usable};
#[cfg(feature = "onnx")]
pub(super) use threads::{Figures, threads};
#[cfg(any(feature = "mlx", feature = "onnx"))]
pub(super) use tuner::{Outcome, Tuner};

/// Tokens of one forward pass on a processor where nothing was measured.
#[cfg(any(feature = "mlx", feature = "onnx", all(test, feature = "service")))]
const PROCESSOR_BATCH_TOKENS: usize = 1024;

/// As above, on an accelerator.
#[cfg(any(feature = "mlx", feature = "onnx", all(test, feature = "service")))]
const ACCELERATOR_BATCH_TOKENS: usize = 4096;

/// Whether threads and the tokens of a batch are measured, where nobody asked for a number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Tuning {
    /// At a checkpoint's first start on this machine, for about a second and a half, where it is
    /// large enough for that to pay (50 million weights in linear layers) and the outcome can be
    /// kept: in the directory that the variable `QWEN3_TUNING_CACHE` names, else in
    /// `qwen3-embedding/tuning` of the user's cache directory. Where the machine is too busy for
    /// that time to tell, the next start tries again.
    #[default]
    Auto,
    /// As [`Auto`](Self::Auto), kept in this directory.
    KeptIn(PathBuf),
    /// Never: the defaults run.
    Off,
}

/// How it came to a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// It was asked for.
    Asked,
    /// It was measured at this start.
    Measured,
    /// It was measured at an earlier start.
    Kept,
    /// It follows from the platform, and for a precision from the model's file; nothing was
    /// measured, or nothing yet.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "asked",
            Self::Measured => "measured",
            Self::Kept => "kept",
            Self::Default => "default",
        })
    }
}

/// A number and how it came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The number.
    pub value: usize,
    /// How it came to it.
    pub origin: Origin,
}

impl Choice {
    /// What was asked for, else the default.
    pub(crate) fn new(asked: Option<usize>, default: usize) -> Self {
        match asked {
            Some(value) => Self {
                value,
                origin: Origin::Asked,
            },
            None => Self {
                value: default,
                origin: Origin::Default,
            },
        }
    }
}

/// What can be left open, as it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choices {
    /// Threads that share one operation; `None` where the library has its own.
    pub threads: Option<Choice>,
    /// The most tokens of one forward pass, padding included.
    pub batch_tokens: Choice,
    /// Of [`BackendInfo::precision`](super::BackendInfo::precision); never measured, since vectors of another precision are of
    /// another space.
    pub precision: Origin,
}

#[cfg(any(feature = "mlx", feature = "onnx", all(test, feature = "service")))]
impl Choices {
    /// Before anything is measured.
    pub(crate) fn new(device: DeviceKind, precision: Precision, threads: Option<Choice>) -> Self {
        let default = match device {
            DeviceKind::Cpu => PROCESSOR_BATCH_TOKENS,
            DeviceKind::Gpu => ACCELERATOR_BATCH_TOKENS,
        };
        Self {
            threads,
            batch_tokens: Choice::new(None, default),
            precision: match precision {
                Precision::Auto => Origin::Default,
                _ => Origin::Asked,
            },
        }
    }
}

#[cfg(all(test, any(feature = "mlx", feature = "onnx")))]
mod tests;
