//! The sessions of one model over one copy of its weights.

mod route;
mod run;

use ort::session::SessionOutputs;
use ort::value::DynValue;

use super::failed;
use super::graph::{self, Form};
use super::inputs::{Pass, inputs};
use super::int8::Finish;
use super::library::Library;
use super::past::{self, Past};
use super::peaks;
use super::providers::Provider;
use super::rope::Rope;
use super::session::Session;
use super::threads::Threads;
use super::weights::{FloatWeights, Weights};
use crate::backend::execution_provider::ExecutionProvider;
use crate::backend::prefix_cache::PrefixCache;
use crate::backend::{Peaks, Work};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Result;

pub(super) use route::{PIECE, Route};

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
    /// Over weights that all of them read. What one query needs is built at once, the rest when it
    /// is first needed.
    Shared(Box<Shared>),
    /// The one that repacked the weights for itself, on the processor.
    Packed(Session),
    /// The one that took the weights to an accelerator.
    Whole(Session),
}

struct Shared {
    weights: FloatWeights,
    few: Session,
    many: Option<Session>,
    long: Option<Session>,
}

impl Model {
    /// Of weights that each form of the graph reads, on the processor.
    pub(super) fn shared(
        library: &'static Library,
        config: &ModelConfig,
        mut weights: FloatWeights,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        let graph = graph::qwen3(&mut weights, config, Form::Few)?;
        let shared = Shared {
            few: Session::new(library, graph, &provider, &threads)?,
            weights,
            many: None,
            long: None,
        };
        let sessions = Sessions::Shared(Box::new(shared));
        Self::new(library, config, sessions, provider, threads)
    }

    /// Of weights that one session takes: int8 ones, which it repacks, or those that an accelerator
    /// keeps.
    pub(super) fn owning(
        library: &'static Library,
        config: &ModelConfig,
        weights: &mut dyn Weights,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        let (form, sessions): (_, fn(Session) -> Sessions) = match provider.kind {
            ExecutionProvider::Cpu => (Form::Packed, Sessions::Packed),
            _ => (Form::Whole, Sessions::Whole),
        };
        let graph = graph::qwen3(weights, config, form)?;
        let session = Session::new(library, graph, &provider, &threads)?;
        Self::new(library, config, sessions(session), provider, threads)
    }

    fn new(
        library: &'static Library,
        config: &ModelConfig,
        sessions: Sessions,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        Ok(Self {
            no_past: Past::with_room(config, 0)?,
            nothing: past::nothing(config)?,
            prefixes: PrefixCache::new(0, Past::token_bytes(config)),
            work: Work::default(),
            rope: Rope::new(config),
            library,
            config: config.clone(),
            provider,
            threads,
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
    /// Runs the graph of this form, which is built if it is not yet, and hands on its outputs.
    fn with<T>(
        &mut self,
        form: Form,
        past: Option<&Past>,
        batch: &TokenBatch,
        kept: usize,
        take: impl FnOnce(&SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let session = match &mut self.sessions {
            Sessions::Packed(session) | Sessions::Whole(session) => session,
            Sessions::Shared(shared) => {
                let Shared {
                    weights,
                    few,
                    many,
                    long,
                } = &mut **shared;
                let built = match form {
                    Form::Many => Some(many),
                    Form::Long => Some(long),
                    Form::Few | Form::Packed | Form::Whole | Form::Block => None,
                };
                match built {
                    None => few,
                    Some(Some(session)) => session,
                    Some(none) => {
                        let graph = graph::qwen3(weights, &self.config, form)?;
                        let (provider, threads) = (&self.provider, &self.threads);
                        none.insert(Session::new(self.library, graph, provider, threads)?)
                    }
                }
            }
        };
        let _span =
            tracing::debug_span!("pass", rows = batch.rows(), width = batch.width()).entered();
        let tokens = batch.rows() * batch.width();
        let past = past.unwrap_or(&self.no_past);
        let pass = Pass { batch, past, kept };
        let inputs = inputs(form, pass, &self.nothing, &mut self.rope);
        let inputs = inputs.map_err(|error| failed("run", error))?;
        let taken = take(&session.run(inputs, tokens)?)?;
        self.work.ran(batch);
        Ok(taken)
    }
}
