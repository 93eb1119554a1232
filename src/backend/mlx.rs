//! MLX's C++ core: Metal on Apple Silicon, CUDA in a build that links it, CPU for tests.

#[cfg(test)]
pub(super) mod admission_tests;
mod ahead;
#[cfg(test)]
mod ahead_tests;
mod array;
mod attention;
mod begun;
mod capture;
mod fast_ops;
mod ffi;
#[cfg(test)]
mod launch_tests;
mod limits;
mod linear;
mod model;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod op_tests;
mod op_trace;
mod ops;
mod packed;
#[cfg(test)]
mod packed_tests;
mod packer;
mod past;
mod peaks;
mod qwen3;
mod runtime;
mod weights;

use std::path::Path;

use super::admission::check_weights;
use super::prefix_cache::PrefixCache;
use super::tuning::{self, Outcome, Tuner};
use super::{Backend, BackendInfo, DeviceKind, HiddenRows, MemoryUse, Peaks, Work};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use ahead::{Ahead, Passes};
use array::{MLX, failed};
use ffi::bridge::{self, ElementType};
use model::Model;
use past::Past;
use qwen3::Qwen3;
use weights::Weights;

pub(crate) use limits::Limits;
pub(crate) use packer::pack;
pub(super) use runtime::probe;

/// A Qwen3 model held by MLX.
pub(super) struct Mlx {
    info: BackendInfo,
    /// None once an operation failed: what the library computes after that is not defined.
    model: Option<Model>,
    ahead: Option<Ahead>,
    process: u32,
}

impl Mlx {
    /// Loads the model onto the device and in the precision that `info` names; keeps so many bytes
    /// of prefixes. The limits are set for the process. On a GPU `tuner` decides what is left open:
    /// on a processor this backend is for tests, and slow.
    pub(super) fn load(
        info: BackendInfo,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
        prefix_bytes: usize,
        limits: Limits,
        tuner: &Tuner,
    ) -> Result<Self> {
        let device = runtime::to_bridge(info.device);
        runtime::prepare(device, limits)?;
        let free = Some(runtime::free_memory()?);
        let _span = tracing::debug_span!("convert").entered();
        let precision = element_type(info.precision);
        let weights = Weights {
            checkpoint,
            device,
            element_type: precision,
        };
        check_weights(MLX, weights.bytes()?, free)?;
        let token_bytes = Past::token_bytes(config, info.precision.size());
        let mut loaded = Self {
            model: Some(Model {
                qwen3: Qwen3::load(&weights, config)?,
                config: config.clone(),
                prefixes: PrefixCache::new(prefix_bytes, token_bytes),
                precision,
                work: Work::default(),
            }),
            ahead: None,
            info,
            process: std::process::id(),
        };
        if loaded.info.device == DeviceKind::Gpu {
            let choices = loaded.info.choices;
            loaded.info.choices = tuner.decide(choices, || loaded.measure())?;
        }
        Ok(loaded)
    }

    /// Measures whole passes.
    fn measure(&mut self) -> Result<Outcome> {
        let Some(model) = &self.model else {
            return Ok(Outcome::default());
        };
        let vocabulary = model.config.vocab_size();
        let default = self.info.choices.batch_tokens.value;
        let batch_tokens = tuning::batch_tokens(default, |tokens| {
            let batch = tuning::trial_batch(tokens, vocabulary)?;
            self.forward(&batch).map(drop)
        })?;
        if let Some(model) = &mut self.model {
            model.work = Work::default();
        }
        Ok(Outcome {
            threads: None,
            batch_tokens,
        })
    }

    /// Runs the batch, and begins on `next` before it waits for the rows.
    fn run(
        &mut self,
        batch: &TokenBatch,
        next: Option<&TokenBatch>,
        compute: Dtype,
    ) -> Result<HiddenRows> {
        if std::process::id() != self.process {
            let message = "the process was forked after the model was loaded; load it in the child";
            return Err(failed("forward", message));
        }
        let Some(model) = &mut self.model else {
            let message = "an earlier operation failed; load the model anew";
            return Err(failed("forward", message));
        };
        let mut passes = Passes {
            model,
            info: &self.info,
            ahead: &mut self.ahead,
        };
        let result = passes.run(batch, next, compute);
        if let Err(Error::Backend { .. }) = &result {
            self.release();
        }
        result
    }

    /// Frees the model, once what is queued on the device has ended.
    fn release(&mut self) {
        let device = runtime::to_bridge(self.info.device);
        // A failure here was reported by the call that caused it.
        let _ = bridge::synchronize(device);
        self.model = None;
        self.ahead = None;
        if self.info.device == DeviceKind::Gpu {
            let _ = bridge::clear_cache();
        }
    }
}

impl Backend for Mlx {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.run(batch, None, self.info.precision)
    }

    fn forward_with_next(
        &mut self,
        batch: &TokenBatch,
        next: Option<&TokenBatch>,
    ) -> Result<HiddenRows> {
        self.run(batch, next, self.info.precision)
    }

    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.run(batch, None, Dtype::F32)
    }

    fn memory(&self) -> Result<MemoryUse> {
        let of = |op: &str, bytes: Result<usize, cxx::Exception>| bytes.map_err(|e| failed(op, e));
        Ok(MemoryUse {
            active: of("active_memory", bridge::active_memory())?,
            cached: Some(of("cache_memory", bridge::cache_memory())?),
            peak: Some(of("peak_memory", bridge::peak_memory())?),
        })
    }

    fn work(&self) -> Work {
        let model = self.model.as_ref();
        model.map(Model::work).unwrap_or_default()
    }

    fn peaks(&mut self) -> Result<Peaks> {
        let device = runtime::to_bridge(self.info.device);
        peaks::measure(device, element_type(self.info.precision))
    }

    fn capture(&mut self, file: &Path, batch: &TokenBatch) -> Result<HiddenRows> {
        capture::around(file, || self.forward(batch))
    }
}

impl Drop for Mlx {
    /// In a forked child the library's threads do not exist, and waiting for them would never end.
    fn drop(&mut self) {
        if std::process::id() == self.process {
            self.release();
        } else {
            std::mem::forget((self.model.take(), self.ahead.take()));
        }
    }
}

fn element_type(precision: Dtype) -> ElementType {
    match precision {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        // Nothing else is ever this backend's precision.
        _ => ElementType::Bf16,
    }
}
