//! The sessions of one model over one copy of its weights.

mod chain;
mod route;
mod run;

use ort::value::DynValue;

use super::graph::Form;
use super::inputs::Pass;
use super::int8::Finish;
use super::library::Library;
use super::maker::Maker;
use super::past::{self, Past};
use super::peaks;
use super::providers::Provider;
use super::rope::Rope;
use super::threads::{Threads, Waiting};
use super::weights::{FloatWeights, Weights};
use crate::backend::prefix_cache::PrefixCache;
use crate::backend::{HiddenRows, Peaks, Work};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Result;

use chain::Chain;
pub(super) use route::{PIECE, Route};

/// Bytes of weights that are worth a session of their own, which repacks them while others do.
const LEAST_PART: usize = 64 << 20;
/// Each session has threads of its own.
const MOST_PARTS: usize = 4;

/// A model's sessions and what each of their runs needs.
pub(super) struct Model {
    library: &'static Library,
    config: ModelConfig,
    provider: Provider,
    threads: Threads,
    rope: Rope,
    no_past: Past,
    nothing: DynValue,
    prefixes: PrefixCache<Past>,
    work: Work,
    sessions: Sessions,
    /// What is left to do to the rows that come out: nothing, unless the weights are int8.
    finish: Option<Finish>,
}

enum Sessions {
    /// Over weights that all of them read. What short texts need is built at once, the rest when it
    /// is first needed.
    Shared(Box<Shared>),
    /// Those that repacked the weights for themselves, on the processor.
    Packed(Chain),
    /// The one that took the weights to an accelerator.
    Whole(Chain),
}

struct Shared {
    weights: FloatWeights,
    short: Chain,
    long: Option<Chain>,
}

impl Model {
    /// Of weights that each form of the graph reads, on the processor.
    pub(super) fn shared(maker: Maker<'_>, mut weights: FloatWeights) -> Result<Self> {
        let shared = Shared {
            short: Chain::new(maker, &mut weights, Form::Short)?,
            weights,
            long: None,
        };
        Self::new(maker, Sessions::Shared(Box::new(shared)))
    }

    /// Of weights that an accelerator keeps.
    pub(super) fn whole(maker: Maker<'_>, weights: &mut dyn Weights) -> Result<Self> {
        Self::new(
            maker,
            Sessions::Whole(Chain::new(maker, weights, Form::Whole)?),
        )
    }

    /// Of int8 weights, so many bytes, which the processor's sessions repack.
    pub(super) fn packed<W: Weights + Send>(
        maker: Maker<'_>,
        weights: &mut W,
        bytes: usize,
    ) -> Result<Self> {
        let parts = parts(bytes, maker.config.num_hidden_layers(), maker.threads);
        let chain = Chain::in_parts(maker, weights, Form::Packed, parts)?;
        Self::new(maker, Sessions::Packed(chain))
    }

    fn new(maker: Maker<'_>, sessions: Sessions) -> Result<Self> {
        let config = maker.config;
        Ok(Self {
            no_past: Past::with_room(config, 0)?,
            nothing: past::nothing(config)?,
            prefixes: PrefixCache::new(0, Past::token_bytes(config)),
            work: Work::default(),
            rope: Rope::new(config),
            library: maker.library,
            config: config.clone(),
            provider: maker.provider.clone(),
            threads: maker.threads.clone(),
            sessions,
            finish: None,
        })
    }

    /// The model with something done to each row that comes out.
    pub(super) fn finished_by(self, finish: Finish) -> Self {
        Self {
            finish: Some(finish),
            ..self
        }
    }

    /// The model with so many bytes for prefixes that come again.
    pub(super) fn keeping(self, bytes: usize) -> Self {
        Self {
            prefixes: PrefixCache::new(bytes, Past::token_bytes(&self.config)),
            ..self
        }
    }

    /// What was computed so far.
    pub(super) fn work(&self) -> Work {
        Work {
            prefix_bytes: self.prefixes.bytes(),
            ..self.work
        }
    }

    /// What its library and threads reach at best.
    pub(super) fn peaks(&self, precision: Dtype) -> Result<Peaks> {
        peaks::measure(self.library, &self.provider, &self.threads, precision)
    }

    /// Runs a form of the graph, which is built if it is not yet; the rows, and the past that the
    /// first `kept` tokens of the first sequence are to others.
    fn run_after(
        &mut self,
        form: Form,
        past: Option<&Past>,
        batch: &TokenBatch,
        kept: usize,
    ) -> Result<(HiddenRows, Past)> {
        let maker = Maker {
            library: self.library,
            config: &self.config,
            provider: &self.provider,
            threads: &self.threads,
        };
        let chain = self.sessions.of(form, maker)?;
        let _span =
            tracing::debug_span!("pass", rows = batch.rows(), width = batch.width()).entered();
        let past = past.unwrap_or(&self.no_past);
        let pass = Pass { batch, past, kept };
        let given = chain.run(pass, &self.nothing, &mut self.rope)?;
        self.work.ran(batch);
        Ok(given)
    }
}

/// How many sessions hold so many bytes of weights in so many layers.
pub(super) fn parts(bytes: usize, layers: usize, threads: &Threads) -> usize {
    let most = match threads.waiting {
        Waiting::Sleep => threads.count.min(MOST_PARTS),
        // Threads of one session that spin would hold up those of the next.
        Waiting::Spin => 1,
    };
    (bytes / LEAST_PART).clamp(1, most.min(layers))
}

impl Sessions {
    /// The sessions of this form.
    fn of(&mut self, form: Form, maker: Maker<'_>) -> Result<&mut Chain> {
        let shared = match self {
            Self::Packed(chain) | Self::Whole(chain) => return Ok(chain),
            Self::Shared(shared) => &mut **shared,
        };
        Ok(match (form, &mut shared.long) {
            (Form::Long, Some(chain)) => chain,
            (Form::Long, none) => none.insert(Chain::new(maker, &mut shared.weights, form)?),
            (Form::Short | Form::Packed | Form::Whole, _) => &mut shared.short,
        })
    }
}
