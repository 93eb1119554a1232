//! The contract that every backend keeps.

#[cfg(any(feature = "mlx", feature = "onnx"))]
mod admission;
pub(crate) mod execution_provider;
#[cfg(feature = "mlx")]
mod mlx;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod peaks;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod prefix_cache;
pub(crate) mod select;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod side_by_side;
pub(crate) mod tuning;

#[cfg(feature = "onnx")]
pub use onnx::Waiting;

use std::path::Path;

use crate::batch::TokenBatch;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use execution_provider::ExecutionProvider;
use tuning::Choices;

/// One model on one device. Owned by one thread for its whole life; not required to be `Send`.
pub trait Backend {
    /// What really runs.
    fn info(&self) -> &BackendInfo;

    /// Runs the batch and returns, for each sequence, the last token's row after the final norm.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`](crate::Error::BatchTooLarge) before anything is allocated;
    /// [`Error::Backend`](crate::Error::Backend) when the native library fails, after which the
    /// backend must be dropped and built anew.
    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows>;

    /// As [`forward`](Backend::forward), where the next call will be about `next`: a backend that
    /// queues work on its device begins on that before it waits for the rows of `batch`, if memory
    /// takes both.
    ///
    /// # Errors
    /// As [`forward`](Backend::forward), about `batch`, but that [`Error::Backend`] may have come
    /// of `next`: what the native library computes after it is not defined.
    fn forward_with_next(
        &mut self,
        batch: &TokenBatch,
        next: Option<&TokenBatch>,
    ) -> Result<HiddenRows> {
        let _ = next;
        self.forward(batch)
    }

    /// As [`forward`](Backend::forward), computed in f32 whatever the precision of the weights:
    /// the second try for an input that overflowed.
    ///
    /// # Errors
    /// As [`forward`](Backend::forward).
    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows>;

    /// Memory of the native library, as far as the library tells.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the native library fails.
    fn memory(&self) -> Result<MemoryUse>;

    /// What was computed since the model was loaded.
    fn work(&self) -> Work;

    /// What this backend reaches at best on its device, measured now, in about a second; nothing
    /// where it does not measure that.
    ///
    /// # Errors
    /// [`Error::Backend`] when the native library fails.
    fn peaks(&mut self) -> Result<Peaks> {
        Ok(Peaks::default())
    }

    /// As [`forward`](Backend::forward), while the device's own tools record what it runs into
    /// `file`, which must not exist.
    ///
    /// # Errors
    /// As [`forward`](Backend::forward); [`Error::BackendUnavailable`] where there is no such tool,
    /// or where it was not enabled before the process began.
    fn capture(&mut self, file: &Path, batch: &TokenBatch) -> Result<HiddenRows> {
        let _ = (file, batch);
        Err(Error::BackendUnavailable {
            backend: "a GPU trace".to_owned(),
            reason: format!(
                "Metal records it, and this model runs on {}",
                self.info().backend
            ),
        })
    }
}

/// Final-normed rows, not L2-normalised: row-major `[rows, hidden]`.
#[derive(Debug, Clone, PartialEq)]
pub struct HiddenRows {
    /// `rows * hidden` elements.
    pub data: Vec<f32>,
    /// Elements of a row.
    pub hidden: usize,
}

impl HiddenRows {
    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.data.chunks_exact(self.hidden)
    }
}

/// What a backend computed, and what it could do without. Counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Work {
    /// Tokens that went through the model, padding included.
    pub computed_tokens: u64,
    /// Those of them that were padding.
    pub padding_tokens: u64,
    /// Tokens that did not, since a prefix holds their keys and values.
    pub saved_tokens: u64,
    /// Forward passes behind a prefix that was kept.
    pub prefix_hits: u64,
    /// Forward passes that met a prefix which was not kept.
    pub prefix_misses: u64,
    /// Bytes of the prefixes that are kept now.
    pub prefix_bytes: usize,
}

impl Work {
    /// Counts a batch that went through the model.
    #[cfg(any(feature = "mlx", feature = "onnx", all(test, feature = "service")))]
    pub(crate) fn ran(&mut self, batch: &TokenBatch) {
        let computed = batch.rows() * batch.width();
        let useful: usize = batch.lengths().iter().sum();
        self.computed_tokens += computed as u64;
        self.padding_tokens += (computed - useful) as u64;
    }

    /// What was computed after `earlier`; the bytes are those of now.
    #[cfg(any(feature = "service", all(test, feature = "onnx")))]
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            computed_tokens: self.computed_tokens - earlier.computed_tokens,
            padding_tokens: self.padding_tokens - earlier.padding_tokens,
            saved_tokens: self.saved_tokens - earlier.saved_tokens,
            prefix_hits: self.prefix_hits - earlier.prefix_hits,
            prefix_misses: self.prefix_misses - earlier.prefix_misses,
            prefix_bytes: self.prefix_bytes,
        }
    }
}

/// Bytes held by the native library: by MLX for all models in the process; by ONNX Runtime, which
/// tells nothing, the weights of this model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// In arrays, weights included.
    pub active: usize,
    /// Freed and kept for reuse; `None` where the library does not tell.
    pub cached: Option<usize>,
    /// The most that was active at one time; `None` where the library does not tell.
    pub peak: Option<usize>,
}

/// What a device reaches at best through its native library, in a second. `None` is not measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Peaks {
    /// Operations a second (a multiplication and an addition are two) of a large product of
    /// matrices, in the precision of the weights, or in f32 where those are int8.
    pub flops: Option<f64>,
    /// The same in int8, where there are such weights.
    pub int8_flops: Option<f64>,
    /// Bytes a second that are read from memory.
    pub bytes: Option<f64>,
}

/// What runs, as opposed to what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The native library: `mlx` or `onnx`.
    pub backend: &'static str,
    /// Where the model runs.
    pub device: DeviceKind,
    /// The part of ONNX Runtime that computes; `None` for other backends.
    pub execution_provider: Option<ExecutionProvider>,
    /// The device's own name, as its driver gives it; may be empty.
    pub device_name: String,
    /// Element type of activations, and of weights but for those that MLX holds quantised.
    pub precision: Dtype,
    /// Version of the native library.
    pub library_version: String,
    /// File of the native library.
    pub library_path: String,
    /// What can be left open, and how it was decided.
    pub choices: Choices,
    /// Why this device and precision run.
    pub reason: String,
    /// Set when no accelerator, or not the preferred one, could be used: what was missing.
    pub fallback: Option<String>,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// An accelerator: Metal, or CUDA in a build that links it.
    Gpu,
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        })
    }
}

/// Which native library to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The best that this machine and this build offer.
    #[default]
    Auto,
    /// MLX.
    Mlx,
    /// ONNX Runtime.
    Onnx,
}

/// Which device to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Device {
    /// An accelerator where there is one, else the processor, said in [`BackendInfo::fallback`].
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An accelerator; an error where there is none.
    Gpu,
}

/// Which element type to hold weights and compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// f32 on a processor and on ONNX Runtime; bf16 on an accelerator, f16 where bf16 is emulated
    /// (Apple M1, M2).
    #[default]
    Auto,
    /// IEEE single precision.
    F32,
    /// IEEE half precision. Activations of larger models can overflow it; such an input is run
    /// again in f32. On ONNX Runtime only where that multiplies in f16: on 64-bit ARM, in linear
    /// layers, and with TensorRT.
    F16,
    /// bfloat16.
    Bf16,
    /// Linear layers in int8, weights and activations, where measurement allows it: the first load
    /// quantises the checkpoint, and keeps the result. ONNX Runtime on a processor only; never
    /// picked by `Auto`.
    Int8,
}
