//! From a model's name to an [`Embedder`]: files, device, precision.

#[cfg(feature = "onnx")]
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::open::{self, Opened};
use super::source::Source;
use super::{Embedder, Encoder, Runner};
#[cfg(feature = "onnx")]
use crate::backend::Waiting;
#[cfg(feature = "onnx")]
use crate::backend::execution_provider::ExecutionProvider;
use crate::backend::select::{self, Fallback, PrefixBytes, Request};
use crate::backend::tuning::Tuning;
use crate::backend::{BackendChoice, BackendInfo, Device, Precision};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::fingerprint;
#[cfg(feature = "hub")]
use crate::hub::{Hub, Progress};
use crate::model::Pooling;
use crate::onnx_file::OnnxModel;
use crate::prompt::Prompt;
use crate::tokenizer::SpecialTokens;

/// Options of an [`Embedder`]; made by [`Embedder::from_dir`] or `Embedder::from_hub`.
#[must_use]
pub struct EmbedderBuilder {
    source: Source,
    request: Request,
    onnx_file: Option<PathBuf>,
    pooling: Option<Pooling>,
}

impl Embedder {
    /// A model in a local directory: a checkpoint laid out as the released ones are, or an ONNX
    /// file with the files that its model was published with.
    pub fn from_dir(dir: impl Into<PathBuf>) -> EmbedderBuilder {
        EmbedderBuilder::new(Source::Dir(dir.into()))
    }

    /// A model by its id, `organisation/name`, from the local hub cache or, where that lacks it,
    /// from the hub that the environment names.
    #[cfg(feature = "hub")]
    pub fn from_hub(id: impl Into<String>) -> EmbedderBuilder {
        EmbedderBuilder::new(Source::Hub {
            id: id.into(),
            revision: None,
            hub: Hub::from_env(),
            progress: Box::new(|_| {}),
        })
    }
}

impl EmbedderBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            request: Request::default(),
            onnx_file: None,
            pooling: None,
        }
    }

    /// The ONNX file to run, relative to the model's directory, such as `onnx/model_fp16.onnx`.
    ///
    /// Without it safetensors of a Qwen3 model come first, then `model.onnx`, `onnx/model.onnx`,
    /// and the only `.onnx` of another name.
    pub fn onnx_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.onnx_file = Some(file.into());
        self
    }

    /// How an ONNX file's rows become one vector, for a directory that does not say so itself; an
    /// error where it says something else.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// The native library to use; [`BackendChoice::Auto`] unless set.
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.request.backend = backend;
        self
    }

    /// The device to use; [`Device::Auto`] unless set.
    pub fn device(mut self, device: Device) -> Self {
        self.request.device = device;
        self
    }

    /// The element type to compute in; [`Precision::Auto`] unless set.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.request.precision = precision;
        self
    }

    /// The file of the ONNX Runtime library, version 1.24 or newer. Without it: the file that the
    /// variable `QWEN3_ONNXRUNTIME` names, one beside the program, the one recorded at build.
    ///
    /// A process loads one such library; naming another one later is an error.
    #[cfg(feature = "onnx")]
    pub fn onnxruntime_library(mut self, file: impl Into<PathBuf>) -> Self {
        self.request.onnx.library = Some(file.into());
        self
    }

    /// The threads that ONNX Runtime shares one operation among. Without it: what [`Tuning`] found,
    /// else one for each physical core.
    #[cfg(feature = "onnx")]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.request.onnx.threads = Some(threads);
        self
    }

    /// The part of ONNX Runtime that computes, which implies [`BackendChoice::Onnx`]; one that does
    /// not bind is an error. Without it: CUDA where it binds and the device allows it, else the
    /// processor.
    #[cfg(feature = "onnx")]
    pub fn execution_provider(mut self, provider: ExecutionProvider) -> Self {
        self.request.onnx.provider = Some(provider);
        self
    }

    /// Which of several GPUs an execution provider uses; the first unless set.
    #[cfg(feature = "onnx")]
    pub fn device_id(mut self, id: u16) -> Self {
        self.request.onnx.device_id = id;
        self
    }

    /// The folder in which TensorRT keeps the engines that it compiled, for the next start. It
    /// must be as trustworthy as the program: engines are code.
    #[cfg(feature = "onnx")]
    pub fn engine_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.request.onnx.engine_cache = Some(folder.into());
        self
    }

    /// What ONNX Runtime's threads do between two pieces of work; [`Waiting::Sleep`] unless set.
    #[cfg(feature = "onnx")]
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.request.onnx.waiting = waiting;
        self
    }

    /// Pins each of ONNX Runtime's threads to a processor, counted from 0; without this they run
    /// where the system puts them. The calling thread takes part in the work and is not pinned, so
    /// this takes one processor less than there are [`threads`](Self::threads).
    #[cfg(feature = "onnx")]
    pub fn pin_threads(mut self, processors: impl Into<Vec<usize>>) -> Self {
        self.request.onnx.pinned = processors.into();
        self
    }

    /// The directory of quantised weights, for [`Precision::Int8`]. Without it: the directory that
    /// the variable `QWEN3_QUANTIZED_CACHE` names, else `qwen3-embedding/quantized` in the user's
    /// cache directory. Where it cannot be written to, weights are quantised on each load.
    #[cfg(feature = "onnx")]
    pub fn quantized_cache(mut self, dir: impl Into<PathBuf>) -> Self {
        self.request.onnx.quantized_cache = Some(dir.into());
        self
    }

    /// Has ONNX Runtime time each operator of each run and write, when the embedder is dropped, a
    /// file in Chrome's trace format for each of its sessions, whose name begins with `prefix`. Runs
    /// take longer then, and the file grows with each.
    #[cfg(feature = "onnx")]
    pub fn onnxruntime_profile(mut self, prefix: impl Into<PathBuf>) -> Self {
        self.request.onnx.profile = Some(prefix.into());
        self
    }

    /// Makes [`build`](Self::build) fail where no accelerator can be used, instead of running on
    /// the processor.
    pub fn require_accelerator(mut self) -> Self {
        self.request.fallback = Fallback::Forbid;
        self
    }

    /// The most tokens of one forward pass, padding included, unless a single text is longer. Without
    /// it: what [`Tuning`] found, else 1,024 on a processor and 4,096 on an accelerator. More is
    /// faster until the device is full, and takes memory in proportion.
    pub fn max_batch_tokens(mut self, tokens: usize) -> Self {
        self.request.batch_tokens = Some(tokens);
        self
    }

    /// Whether threads and the tokens of a batch are measured at a first start, where they are not
    /// set; [`Tuning::Auto`] unless set. Vectors do not depend on it.
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.request.tuning = tuning;
        self
    }

    /// The most bytes of keys and values that are kept of prompts, so that a query runs only the
    /// tokens after its own; 64 MiB unless set. With 0, each runs whole.
    pub fn prefix_cache_bytes(mut self, bytes: usize) -> Self {
        self.request.prefixes = PrefixBytes(bytes);
        self
    }

    /// The most bytes of freed memory that MLX keeps on a GPU, in the whole process; a 32nd of the
    /// working set that the device recommends unless set.
    #[cfg(feature = "mlx")]
    pub fn mlx_cache_bytes(mut self, bytes: usize) -> Self {
        self.request.mlx.cache = Some(bytes);
        self
    }

    /// The most bytes that MLX keeps the system from swapping out, in the whole process and on macOS
    /// 15 or newer; the working set that the device recommends unless set, and never more.
    #[cfg(feature = "mlx")]
    pub fn mlx_wired_bytes(mut self, bytes: usize) -> Self {
        self.request.mlx.wired = Some(bytes);
        self
    }

    /// A branch, tag or commit; without one, `main`. For models from a hub.
    #[cfg(feature = "hub")]
    pub fn revision(mut self, wanted: impl Into<String>) -> Self {
        if let Source::Hub { revision, .. } = &mut self.source {
            *revision = Some(wanted.into());
        }
        self
    }

    /// The hub and cache to use instead of those of the environment. For models from a hub.
    #[cfg(feature = "hub")]
    pub fn hub(mut self, wanted: Hub) -> Self {
        if let Source::Hub { hub, .. } = &mut self.source {
            *hub = wanted;
        }
        self
    }

    /// Is called as files arrive. For models from a hub.
    #[cfg(feature = "hub")]
    pub fn on_progress(mut self, report: impl FnMut(Progress<'_>) + 'static) -> Self {
        if let Source::Hub { progress, .. } = &mut self.source {
            *progress = Box::new(report);
        }
        self
    }

    /// What [`build`](Self::build) would run on, without loading the model or fetching it. Nothing
    /// is measured: [`BackendInfo::choices`] are those of earlier starts, or the defaults.
    ///
    /// # Errors
    /// [`Error::BackendUnavailable`](crate::Error::BackendUnavailable) as `build` would give it.
    pub fn probe(&self) -> Result<BackendInfo> {
        match self.checkpoint_config() {
            Some(config) => select::recall(&self.request, &config),
            None => select::probe(&self.request),
        }
    }

    /// The configuration of a checkpoint that is on this machine.
    fn checkpoint_config(&self) -> Option<ModelConfig> {
        let dir = self.source.local()?;
        match OnnxModel::find(&dir, self.onnx_file.as_deref(), self.pooling) {
            Ok(None) => ModelConfig::from_file(&dir.join("config.json")).ok(),
            _ => None,
        }
    }

    /// The execution providers in the ONNX Runtime library that [`build`](Self::build) would load.
    /// One that is offered may still lack its own libraries or its device.
    ///
    /// # Errors
    /// [`Error::BackendUnavailable`](crate::Error::BackendUnavailable) where there is no such library.
    #[cfg(feature = "onnx")]
    pub fn execution_providers(&self) -> Result<Vec<ExecutionProvider>> {
        select::execution_providers(&self.request)
    }

    /// Finds, checks and loads the model. May download and takes seconds for large models.
    ///
    /// # Errors
    /// Any error of the model's files, the hub or the backend, each naming what was at fault.
    pub fn build(self) -> Result<Embedder> {
        let request = self.request.clone();
        let (file, pooling) = (self.onnx_file.clone(), self.pooling);
        self.build_from(
            |dir| match OnnxModel::find(dir, file.as_deref(), pooling)? {
                Some(model) => open::onnx(dir, &model, &request),
                None => open::checkpoint(dir, pooling, |config, checkpoint| {
                    select::open(&request, config, checkpoint)
                }),
            },
        )
    }

    /// As [`build`](Self::build) of a checkpoint, with the backend that `open` gives.
    #[cfg(all(test, feature = "service"))]
    pub(crate) fn build_over(
        self,
        open: impl FnOnce(
            &crate::config::ModelConfig,
            &crate::checkpoint::Checkpoint,
        ) -> Result<Box<dyn crate::backend::Backend>>,
    ) -> Result<Embedder> {
        let pooling = self.pooling;
        self.build_from(|dir| open::checkpoint(dir, pooling, open))
    }

    fn build_from(self, open: impl FnOnce(&Path) -> Result<Opened>) -> Result<Embedder> {
        let found = self.source.resolve()?;
        let opened = open(&found.dir)?;
        let identifying = tracing::debug_span!("identify");
        let space = identifying.in_scope(|| {
            fingerprint::space(fingerprint::Parts {
                dir: &found.dir,
                hub: found.hub,
                config: &opened.config,
                tokenizer: &opened.tokenizer,
                weights: opened.weights,
            })
        })?;
        let runner = Runner {
            max_batch_tokens: opened.backend.info().choices.batch_tokens.value,
            backend: opened.backend,
            vocab_size: opened.config.vocab_size(),
        };
        let tokenizer = opened.tokenizer;
        let encoder = Encoder {
            query_prompt: tokenizer.prompt(&Prompt::Query, SpecialTokens::PlainText)?,
            max_tokens: opened.max_tokens,
            model: found.model,
            config: opened.config,
            tokenizer,
            space,
        };
        Ok(Embedder { encoder, runner })
    }
}
