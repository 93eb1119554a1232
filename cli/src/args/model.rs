//! Which model runs, and on what.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
#[cfg(feature = "onnx")]
use qwen3_embedding::ExecutionProvider;
use qwen3_embedding::{BackendChoice, Device, EmbedderBuilder, Pooling, Precision, Tuning};

use super::choice::one_of;
use super::memory::MemoryArgs;
#[cfg(feature = "onnx")]
use super::threads::ThreadArgs;
use crate::failure::Failure;

const BACKENDS: &[(&str, BackendChoice)] = &[
    ("auto", BackendChoice::Auto),
    ("mlx", BackendChoice::Mlx),
    ("onnx", BackendChoice::Onnx),
];
const DEVICES: &[(&str, Device)] = &[
    ("auto", Device::Auto),
    ("cpu", Device::Cpu),
    ("gpu", Device::Gpu),
];
const PRECISIONS: &[(&str, Precision)] = &[
    ("auto", Precision::Auto),
    ("f32", Precision::F32),
    ("f16", Precision::F16),
    ("bf16", Precision::Bf16),
    ("int8", Precision::Int8),
];
#[cfg(feature = "onnx")]
const PROVIDERS: &[(&str, ExecutionProvider)] = &[
    ("cpu", ExecutionProvider::Cpu),
    ("cuda", ExecutionProvider::Cuda),
    ("tensorrt", ExecutionProvider::TensorRt),
    ("coreml", ExecutionProvider::CoreMl),
];
const POOLINGS: &[(&str, Pooling)] = &[
    ("mean", Pooling::Mean),
    ("cls", Pooling::Cls),
    ("last-token", Pooling::LastToken),
];

#[derive(Args, Clone)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A directory or a model id, organisation/name; without one, a built-in demonstration model
    #[arg(
        long,
        value_name = "DIR|ID",
        env = "QWEN3_EMBED_MODEL",
        hide_env_values = true
    )]
    pub(crate) model: Option<String>,
    /// Branch, tag or commit of the model id [default: main]
    #[cfg(feature = "hub")]
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Make no request: the model id must be in the local cache
    #[cfg(feature = "hub")]
    #[arg(long)]
    pub(crate) offline: bool,
    /// ONNX file to run, within the directory [default: safetensors, then model.onnx]
    #[arg(long, value_name = "FILE")]
    pub(crate) onnx_file: Option<PathBuf>,
    /// How an ONNX file's rows become a vector, where its directory does not say
    #[arg(long, value_parser = one_of(POOLINGS))]
    pub(crate) pooling: Option<Pooling>,
    /// Native library to run on
    #[arg(long, value_parser = one_of(BACKENDS), default_value = "auto")]
    backend: BackendChoice,
    /// Device to run on; auto takes an accelerator where there is one
    #[arg(long, value_parser = one_of(DEVICES), default_value = "auto")]
    device: Device,
    /// Fail where no accelerator can be used
    #[arg(long)]
    require_accelerator: bool,
    /// Element type to compute in; auto is f32 on a CPU, else 16 bits; int8 is for a CPU
    #[arg(long, value_parser = one_of(PRECISIONS), default_value = "auto")]
    precision: Precision,
    /// Most tokens of one forward pass [default: measured at a model's first start, or 1024 on a
    /// CPU and 4096 on an accelerator]
    #[arg(long, value_name = "N")]
    max_batch_tokens: Option<NonZeroUsize>,
    /// Measure nothing at a model's first start, and use nothing that was measured
    #[arg(long)]
    no_tuning: bool,
    #[command(flatten)]
    memory: MemoryArgs,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    onnx: OnnxArgs,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    threads: ThreadArgs,
}

/// What only ONNX Runtime takes.
#[cfg(feature = "onnx")]
#[derive(Args, Clone)]
struct OnnxArgs {
    /// Part of ONNX Runtime to compute with; one that does not bind is an error
    #[arg(long, value_name = "NAME", value_parser = one_of(PROVIDERS))]
    execution_provider: Option<ExecutionProvider>,
    /// Which of several GPUs the execution provider uses
    #[arg(long, value_name = "N", default_value_t = 0)]
    device_id: u16,
    /// Folder in which TensorRT keeps the engines that it compiled
    #[arg(long, value_name = "DIR")]
    engine_cache: Option<PathBuf>,
}

#[cfg(feature = "onnx")]
impl OnnxArgs {
    fn apply(&self, mut builder: EmbedderBuilder) -> EmbedderBuilder {
        if let Some(provider) = self.execution_provider {
            builder = builder.execution_provider(provider);
        }
        if let Some(folder) = &self.engine_cache {
            builder = builder.engine_cache(folder);
        }
        builder.device_id(self.device_id)
    }
}

impl ModelArgs {
    /// Finds the contradiction that lies in a value, which clap cannot.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.require_accelerator && self.device == Device::Cpu {
            let message = "'--require-accelerator' cannot be used with '--device cpu'";
            return Err(Failure::Usage(message.to_owned()));
        }
        Ok(())
    }

    /// Threads of ONNX Runtime, where a number was asked for.
    #[cfg(feature = "bench")]
    pub(crate) fn threads(&self) -> Option<usize> {
        #[cfg(feature = "onnx")]
        return self.threads.count();
        #[cfg(not(feature = "onnx"))]
        None
    }

    /// The builder with everything that was asked for.
    pub(crate) fn apply(&self, builder: EmbedderBuilder) -> EmbedderBuilder {
        let mut builder = builder
            .backend(self.backend)
            .device(self.device)
            .precision(self.precision);
        builder = self.memory.apply(builder);
        #[cfg(feature = "onnx")]
        {
            builder = self.threads.apply(self.onnx.apply(builder));
        }
        if let Some(tokens) = self.max_batch_tokens {
            builder = builder.max_batch_tokens(tokens.get());
        }
        if self.no_tuning {
            builder = builder.tuning(Tuning::Off);
        }
        if let Some(file) = &self.onnx_file {
            builder = builder.onnx_file(file);
        }
        if let Some(pooling) = self.pooling {
            builder = builder.pooling(pooling);
        }
        match self.require_accelerator {
            true => builder.require_accelerator(),
            false => builder,
        }
    }
}
