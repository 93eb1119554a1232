//! ONNX Runtime: the same checkpoint on any processor, with no C++ compiler and no ONNX file.

mod foreign;
mod graph;
mod library;
mod memory;
mod ops;
mod placement;
mod providers;
mod rope;
mod selection;
mod session;
mod threads;
mod weights;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::admission::{Attention, Need, run_admitted};
use super::execution_provider::ExecutionProvider;
use super::{Backend, BackendInfo, Device, HiddenRows, MemoryUse, Precision};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use library::ONNX;
use providers::Provider;
use rope::Rope;
use session::Session;
use weights::Weights;

pub(super) use foreign::Foreign;
pub(super) use selection::{offered, probe};

/// What is particular to this backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The library's file, instead of one that is searched for.
    pub(crate) library: Option<PathBuf>,
    /// Threads of one operator.
    pub(crate) threads: Option<NonZeroUsize>,
    /// What computes, instead of the best that is there.
    pub(crate) provider: Option<ExecutionProvider>,
    /// Which of several GPUs.
    pub(crate) device_id: u16,
    /// The folder in which TensorRT keeps its engines.
    pub(crate) engine_cache: Option<PathBuf>,
}

/// A Qwen3 model held by ONNX Runtime.
pub(super) struct Onnx {
    info: BackendInfo,
    config: ModelConfig,
    rope: Rope,
    session: Option<Session>, // none only while it is dropped
    /// None where the session itself computes in f32.
    second_try: Option<SecondTry>,
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
        let kind = info.execution_provider.unwrap_or(ExecutionProvider::Cpu);
        let provider = Provider::new(kind, info.precision, options);
        let mut weights = Weights::of(checkpoint, provider.weights());
        let model = graph::qwen3(&mut weights, config)?;
        let threads = options
            .threads
            .map_or_else(threads::default_count, NonZeroUsize::get);
        Ok(Self {
            session: Some(Session::new(library, model, &provider, threads)?),
            second_try: (info.precision != Dtype::F32).then(|| SecondTry::new(checkpoint, options)),
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
        match &mut self.second_try {
            Some(second_try) => second_try.model(&self.config)?.forward(batch),
            None => self.forward(batch),
        }
    }

    fn memory(&self) -> Result<MemoryUse> {
        let second_try = self.second_try.as_ref();
        let second_try = second_try.and_then(|second_try| second_try.model.as_ref());
        let also = second_try.map_or(0, |model| model.weight_bytes);
        Ok(MemoryUse {
            active: self.weight_bytes + also,
            cached: None,
            peak: None,
        })
    }
}

/// The model in f32 on the processor, loaded when an input first overflows a narrower type.
struct SecondTry {
    checkpoint: Checkpoint,
    options: Options,
    model: Option<Box<Onnx>>,
}

impl SecondTry {
    fn new(checkpoint: &Checkpoint, options: &Options) -> Self {
        Self {
            checkpoint: checkpoint.clone(),
            options: Options {
                provider: Some(ExecutionProvider::Cpu),
                engine_cache: None,
                ..options.clone()
            },
            model: None,
        }
    }

    fn model(&mut self, config: &ModelConfig) -> Result<&mut Onnx> {
        let model = match self.model.take() {
            Some(model) => model,
            None => {
                let info = probe(Device::Cpu, Precision::F32, &self.options)?;
                Box::new(Onnx::load(info, config, &self.checkpoint, &self.options)?)
            }
        };
        Ok(self.model.insert(model))
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
