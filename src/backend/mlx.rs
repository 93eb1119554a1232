//! MLX's C++ core: Metal on Apple Silicon, CUDA in a build that links it, CPU for tests.

#[cfg(test)]
pub(super) mod admission_tests;
mod array;
mod capture;
mod ffi;
#[cfg(test)]
mod op_tests;
mod op_trace;
mod peaks;
mod qwen3;
mod runtime;
mod weights;

use std::path::Path;

use super::admission::{check_weights, run_admitted};
use super::{Backend, BackendInfo, DeviceKind, HiddenRows, MemoryUse, Peaks};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use array::{MLX, failed};
use ffi::bridge::{self, ElementType};
use qwen3::Qwen3;
use weights::Weights;

pub(super) use runtime::probe;

/// A Qwen3 model held by MLX.
pub(super) struct Mlx {
    info: BackendInfo,
    config: ModelConfig,
    /// None once an operation failed: what the library computes after that is not defined.
    model: Option<Qwen3>,
    process: u32,
}

impl Mlx {
    /// Loads the model onto the device and in the precision that `info` names.
    pub(super) fn load(
        info: BackendInfo,
        config: &ModelConfig,
        checkpoint: &Checkpoint,
    ) -> Result<Self> {
        let device = runtime::to_bridge(info.device);
        runtime::prepare(device)?;
        let free = Some(runtime::free_memory()?);
        check_weights(MLX, checkpoint.elements(), info.precision, free)?;
        let _span = tracing::debug_span!("convert").entered();
        let weights = Weights {
            checkpoint,
            device,
            element_type: element_type(info.precision),
        };
        Ok(Self {
            model: Some(Qwen3::load(&weights, config)?),
            config: config.clone(),
            info,
            process: std::process::id(),
        })
    }

    fn run(&mut self, batch: &TokenBatch, compute: Dtype) -> Result<HiddenRows> {
        if std::process::id() != self.process {
            let message = "the process was forked after the model was loaded; load it in the child";
            return Err(failed("forward", message));
        }
        let Some(model) = &self.model else {
            let message = "an earlier operation failed; load the model anew";
            return Err(failed("forward", message));
        };
        let (config, info) = (&self.config, &self.info);
        let free = runtime::free_memory()?;
        let check = |part: &TokenBatch| runtime::check_size(part, config, info, compute, free);
        let result = run_admitted(MLX, batch, &check, &mut |part| {
            run_whole(model, part, element_type(compute))
        });
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
        if self.info.device == DeviceKind::Gpu {
            let _ = bridge::clear_cache();
        }
    }
}

fn run_whole(model: &Qwen3, batch: &TokenBatch, compute: ElementType) -> Result<HiddenRows> {
    let [rows, width] = [batch.rows(), batch.width()];
    let _span = tracing::debug_span!("pass", rows, width).entered();
    let x = model.forward(batch.ids(), [rows, width], compute)?;
    let hidden = x.shape()[2];
    let last = batch
        .last_tokens()
        .map(|position| u32::try_from(position).map_err(|e| failed("take", e)))
        .collect::<Result<Vec<_>>>()?;
    // (B, L, hidden) -> (B * L, hidden) -> (B, hidden)
    let pooled = x
        .reshape(&[rows * width, hidden])?
        .take_rows(&last, &[rows])?;
    let data = model.norm(&pooled)?.to_f32()?;
    Ok(HiddenRows { data, hidden })
}

impl Backend for Mlx {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.run(batch, self.info.precision)
    }

    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.run(batch, Dtype::F32)
    }

    fn memory(&self) -> Result<MemoryUse> {
        let of = |op: &str, bytes: Result<usize, cxx::Exception>| bytes.map_err(|e| failed(op, e));
        Ok(MemoryUse {
            active: of("active_memory", bridge::active_memory())?,
            cached: Some(of("cache_memory", bridge::cache_memory())?),
            peak: Some(of("peak_memory", bridge::peak_memory())?),
        })
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
            std::mem::forget(self.model.take());
        }
    }
}

fn element_type(precision: Dtype) -> ElementType {
    match precision {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
        // Int8 is never this backend's precision.
        Dtype::Bf16 | Dtype::Int8 => ElementType::Bf16,
    }
}
