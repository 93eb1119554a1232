//! ONNX Runtime: the same checkpoint on any processor, with no C++ compiler and no ONNX file.

mod graph;
mod library;
mod memory;
mod ops;
mod rope;
mod session;
mod threads;
mod weights;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::admission::{Attention, Need, run_admitted};
use super::{Backend, BackendInfo, Device, DeviceKind, HiddenRows, MemoryUse, Precision};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use library::{ONNX, unavailable};
use rope::Rope;
use session::Session;
use weights::Weights;

/// What is particular to this backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The library's file, instead of one that is searched for.
    pub(crate) library: Option<PathBuf>,
    /// Threads of one operator.
    pub(crate) threads: Option<NonZeroUsize>,
}

/// Resolves the library, the device and the precision, and says why.
pub(super) fn probe(
    device: Device,
    precision: Precision,
    options: &Options,
) -> Result<BackendInfo> {
    if let Precision::F16 | Precision::Bf16 = precision {
        return Err(unavailable(format!(
            "precision {precision:?} is not supported; supported: Auto, F32"
        )));
    }
    let missing = "only the CPU execution provider is supported";
    let (reason, fallback) = match device {
        Device::Gpu => return Err(unavailable(missing.to_owned())),
        Device::Cpu => ("the CPU was asked for: execution provider cpu", None),
        Device::Auto => (
            "no accelerator: execution provider cpu",
            Some(missing.to_owned()),
        ),
    };
    let library = library::load(options.library.as_deref())?;
    Ok(BackendInfo {
        backend: "onnx",
        device: DeviceKind::Cpu,
        device_name: String::new(),
        precision: Dtype::F32,
        library_version: library.version.clone(),
        library_path: library.path.display().to_string(),
        reason: reason.to_owned(),
        fallback,
    })
}

/// A Qwen3 model held by ONNX Runtime.
pub(super) struct Onnx {
    info: BackendInfo,
    config: ModelConfig,
    rope: Rope,
    session: Option<Session>, // none only while it is dropped
    weight_bytes: usize,
    process: u32,
}

impl Onnx {
    /// Builds the graph and loads the weights into it.
    pub(super) fn load(
        info: BackendInfo,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
        options: &Options,
    ) -> Result<Self> {
        let library = library::load(options.library.as_deref())?;
        let mut weights = Weights::of(checkpoint);
        let model = graph::qwen3(&mut weights, config)?;
        let threads = options
            .threads
            .map_or_else(threads::default_count, NonZeroUsize::get);
        Ok(Self {
            session: Some(Session::new(library, model, threads)?),
            rope: Rope::new(config),
            config: config.clone(),
            weight_bytes: weights.bytes(),
            info,
            process: std::process::id(),
        })
    }
}

impl Backend for Onnx {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let Self { session, rope, .. } = self;
        let Some(session) = session
            .as_mut()
            .filter(|_| std::process::id() == self.process)
        else {
            let message = "the process was forked after the model was loaded; load it in the child";
            return Err(failed("forward", message));
        };
        let config = &self.config;
        let check = |part: &TokenBatch| {
            let need = Need::of(part, config, Attention::Stored);
            need.check(memory::available(), "on this machine")
        };
        let hidden = config.hidden_size();
        run_admitted(ONNX, batch, &check, &mut |part| {
            let data = session.run(part, rope, hidden)?;
            Ok(HiddenRows { data, hidden })
        })
    }

    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.forward(batch)
    }

    fn memory(&self) -> Result<MemoryUse> {
        Ok(MemoryUse {
            active: self.weight_bytes,
            cached: None,
            peak: None,
        })
    }
}

impl Drop for Onnx {
    /// In a forked child the session's threads do not exist: ending it would wait for them forever.
    fn drop(&mut self) {
        if std::process::id() != self.process {
            std::mem::forget(self.session.take());
        }
    }
}

/// An error of the operation `op`.
fn failed(op: &str, message: impl ToString) -> Error {
    Error::Backend {
        backend: ONNX,
        op: op.to_owned(),
        message: message.to_string(),
    }
}
