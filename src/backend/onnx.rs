//! ONNX Runtime: the same checkpoint on any processor, with no C++ compiler and no ONNX file.

mod array;
mod block;
mod foreign;
mod graph;
mod inputs;
mod int8;
mod library;
mod maker;
mod memory;
mod model;
#[cfg(test)]
mod model_tests;
mod operators;
mod ops;
mod pages;
mod panels;
mod past;
mod peaks;
mod placement;
mod providers;
mod rope;
mod selection;
mod session;
mod threads;
mod tune;
mod weights;

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::admission::{check_weights, run_admitted};
use super::execution_provider::ExecutionProvider;
use super::tuning::{Choices, Tuner};
use super::{Backend, BackendInfo, Device, HiddenRows, MemoryUse, Peaks, Precision, Work};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use int8::Int8;
use library::{Library, ONNX};
use maker::Maker;
use model::Model;
use providers::Provider;
use threads::Threads;
use weights::{FloatWeights, Weights};

pub(super) use foreign::Foreign;
pub(super) use selection::{offered, probe};
pub use threads::Waiting;

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
    /// What they do between two pieces of work.
    pub(crate) waiting: Waiting,
    /// Processors of all threads but the calling one; none pins nothing.
    pub(crate) pinned: Vec<usize>,
    /// The directory of quantised weights, instead of the user's.
    pub(crate) quantized_cache: Option<PathBuf>,
    /// What the names of the library's own profiles begin with; none are written without it.
    pub(crate) profile: Option<PathBuf>,
}

/// A Qwen3 model held by ONNX Runtime.
pub(super) struct Onnx {
    info: BackendInfo,
    config: ModelConfig,
    model: Option<Model>, // none only while it is dropped
    /// None where the model itself computes in f32.
    second_try: Option<SecondTry>,
    weight_bytes: usize,
    process: u32,
}

impl Onnx {
    /// Builds the graph and loads the weights into it; keeps so many bytes of prefixes. On the
    /// processor `tuner` decides what is left open.
    pub(super) fn load(
        info: BackendInfo,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
        options: &Options,
        prefix_bytes: usize,
        tuner: &Tuner,
    ) -> Result<Self> {
        let undecided = Undecided {
            tuner,
            choices: info.choices,
        };
        let library = library::load(options.library.as_deref())?;
        let loaded = match info.precision {
            Dtype::Int8 => Loaded::int8(library, config, checkpoint, options, undecided)?,
            precision => {
                let kind = info.execution_provider.unwrap_or(ExecutionProvider::Cpu);
                let provider = Provider::new(kind, precision, options);
                Loaded::float(library, config, checkpoint, provider, options, undecided)?
            }
        };
        pages::give_back();
        let second_try = info.precision != Dtype::F32;
        let measured = loaded.measured.map(|text| format!("; {text}"));
        let threads = loaded.choices.threads.map(|choice| choice.value);
        let options = &Options {
            threads: threads.and_then(NonZeroUsize::new),
            ..options.clone()
        };
        Ok(Self {
            weight_bytes: loaded.weight_bytes,
            model: Some(loaded.model.keeping(prefix_bytes)),
            second_try: second_try.then(|| SecondTry::new(checkpoint, options)),
            config: config.clone(),
            info: BackendInfo {
                reason: info.reason + &measured.unwrap_or_default(),
                choices: loaded.choices,
                ..info
            },
            process: std::process::id(),
        })
    }
}

/// What is left open, and what decides it.
#[derive(Clone, Copy)]
struct Undecided<'a> {
    tuner: &'a Tuner,
    choices: Choices,
}

impl Undecided<'_> {
    fn decide<W: Weights>(
        self,
        maker: Maker<'_>,
        weights: &dyn Fn() -> Result<W>,
    ) -> Result<Choices> {
        let mut provider = maker.provider.clone();
        // A profile of the model is not to hold these.
        provider.profile = None;
        let maker = Maker {
            provider: &provider,
            ..maker
        };
        let measure = || tune::measure(maker, self.choices, weights);
        self.tuner.decide(self.choices, measure)
    }
}

/// A model and what is known of its weights.
struct Loaded {
    model: Model,
    choices: Choices,
    weight_bytes: usize,
    /// What was measured when the weights were quantised.
    measured: Option<String>,
}

impl Loaded {
    fn float(
        library: &'static Library,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
        provider: Provider,
        options: &Options,
        undecided: Undecided<'_>,
    ) -> Result<Self> {
        let threads = Threads::of(options)?;
        let mut choices = undecided.choices;
        let precision = provider.weights();
        let needed = match provider.kind {
            ExecutionProvider::Cpu => FloatWeights::shared_bytes(checkpoint, precision)?,
            _ => FloatWeights::own_bytes(checkpoint, precision)?,
        };
        check_weights(ONNX, needed as u64, memory::available())?;
        let maker = Maker {
            library,
            config,
            provider: &provider,
            threads: &threads,
        };
        let (weight_bytes, model) = match provider.kind {
            ExecutionProvider::Cpu => {
                let weights = FloatWeights::shared(checkpoint, precision)?;
                choices = undecided.decide(maker, &|| Ok(&weights))?;
                let threads = &threads.chosen(choices);
                let maker = Maker { threads, ..maker };
                (weights.bytes(), Model::shared(maker, weights)?)
            }
            _ => {
                let mut weights = FloatWeights::own(checkpoint, precision)?;
                (weights.bytes(), Model::whole(maker, &mut weights)?)
            }
        };
        Ok(Self {
            model,
            choices,
            weight_bytes,
            measured: None,
        })
    }

    fn int8(
        library: &'static Library,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
        options: &Options,
        undecided: Undecided<'_>,
    ) -> Result<Self> {
        let threads = Threads::of(options)?;
        let needed = checkpoint.elements() * Dtype::Int8.size() as u64;
        check_weights(ONNX, needed, memory::available())?;
        let provider = Provider::new(ExecutionProvider::Cpu, Dtype::Int8, options);
        let maker = Maker {
            library,
            config,
            provider: &provider,
            threads: &threads,
        };
        let int8 = Int8::load(checkpoint, maker, options.quantized_cache.clone())?;
        let weight_bytes = int8.store.bytes();
        let choices = undecided.decide(maker, &|| Ok(int8.store.clone()))?;
        let threads = &threads.chosen(choices);
        let maker = Maker { threads, ..maker };
        let model = Model::shared(maker, int8.store)?;
        Ok(Self {
            model: model.finished_by(int8.finish),
            choices,
            weight_bytes,
            measured: Some(int8.summary),
        })
    }
}

impl Backend for Onnx {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let model = self.model.as_mut();
        let Some(model) = model.filter(|_| std::process::id() == self.process) else {
            let message = "the process was forked after the model was loaded; load it in the child";
            return Err(failed("forward", message));
        };
        let model = RefCell::new(model);
        let check = |part: &TokenBatch| {
            let need = model.borrow().need(part);
            need.check(memory::available(), "on this machine")
        };
        run_admitted(ONNX, batch, &check, &mut |part| {
            model.borrow_mut().run(part)
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

    fn work(&self) -> Work {
        let model = self.model.as_ref();
        model.map(Model::work).unwrap_or_default()
    }

    fn peaks(&mut self) -> Result<Peaks> {
        match &self.model {
            Some(model) => model.peaks(self.info.precision),
            None => Ok(Peaks::default()),
        }
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
                Box::new(Onnx::load(
                    info,
                    config,
                    &self.checkpoint,
                    &self.options,
                    0,
                    &Tuner::off(),
                )?)
            }
        };
        Ok(self.model.insert(model))
    }
}

impl Drop for Onnx {
    /// In a forked child the session's threads do not exist: ending it would wait for them forever.
    fn drop(&mut self) {
        if std::process::id() != self.process {
            std::mem::forget(self.model.take());
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
