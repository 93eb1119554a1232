//! The sessions of one model over one copy of its weights.

mod route;
mod run;
mod runner;

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
use super::threads::Threads;
use super::weights::Weights;
use crate::backend::prefix_cache::PrefixCache;
use crate::backend::{HiddenRows, Peaks, Work};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Result;

pub(super) use route::Route;
use runner::Runner;

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
    /// The one that took the weights to an accelerator.
    Whole(Runner),
}

struct Shared {
    weights: Box<dyn Weights>,
    short: Runner,
    long: Option<Runner>,
}

impl Model {
    /// Of weights that each form of the graph reads, on the processor.
    pub(super) fn shared(maker: Maker<'_>, mut weights: impl Weights + 'static) -> Result<Self> {
        let shared = Shared {
            short: Runner::new(maker, &mut weights, Form::Short)?,
            weights: Box::new(weights),
            long: None,
        };
        Self::new(maker, Sessions::Shared(Box::new(shared)))
    }

    /// Of weights that an accelerator keeps.
    pub(super) fn whole(maker: Maker<'_>, weights: &mut dyn Weights) -> Result<Self> {
        Self::new(
            maker,
            Sessions::Whole(Runner::new(maker, weights, Form::Whole)?),
        )
    }

    fn new(maker: Maker<'_>, sessions: Sessions) -> Result<Self> {
        let config = maker.config;
        Ok(Self {
            no_past: Past::empty(config),
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
        let runner = self.sessions.of(form, maker)?;
        let _span =
            tracing::debug_span!("pass", rows = batch.rows(), width = batch.width()).entered();
        let past = past.unwrap_or(&self.no_past);
        let pass = Pass { batch, past, kept };
        let given = runner.run(pass, &self.nothing, &mut self.rope)?;
        self.work.ran(batch);
        Ok(given)
    }
}

impl Sessions {
    /// The sessions of this form.
    fn of(&mut self, form: Form, maker: Maker<'_>) -> Result<&mut Runner> {
        let shared = match self {
            Self::Whole(runner) => return Ok(runner),
            Self::Shared(shared) => &mut **shared,
        };
        Ok(match (form, &mut shared.long) {
            (Form::Long, Some(runner)) => runner,
            (Form::Long, none) => none.insert(Runner::new(maker, &mut *shared.weights, form)?),
            (Form::Short | Form::Whole, _) => &mut shared.short,
        })
    }
}
