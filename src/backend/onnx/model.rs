//! The sessions of one model over one copy of its weights, and which of them runs what.

use ort::session::SessionOutputs;

use super::failed;
use super::graph::{self, Form};
use super::inputs::inputs;
use super::int8::Finish;
use super::library::Library;
use super::peaks;
use super::prefix::{self, Prefix};
use super::providers::Provider;
use super::rope::Rope;
use super::session::Session;
use super::threads::Threads;
use super::weights::{FloatWeights, Weights};
use crate::backend::admission::{Attention, Need};
use crate::backend::{HiddenRows, Peaks};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Result;

/// The longest sequences that the standard operator attends over; from here on the one that stores
/// no scores is faster.
const LONGEST_SHORT: usize = 256;

/// The most tokens of a batch, padding included, for which weights on the left of products are faster.
const FEW_TOKENS: usize = 128;

/// How a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// At once, by the standard operator, after `prefix` tokens which the sequences share.
    Short { prefix: usize },
    /// At once, by the operator that stores no scores.
    Long,
    /// At once, by the standard operator, in the one session that there is.
    Whole,
}

impl Route {
    pub(super) fn of(batch: &TokenBatch) -> Self {
        let prefix = prefix::worth_sharing(batch);
        match batch.width() - prefix {
            ..=LONGEST_SHORT => Self::Short { prefix },
            _ => Self::Long,
        }
    }
}

/// A model's sessions and what each of their runs needs.
pub(super) struct Model {
    library: &'static Library,
    config: ModelConfig,
    provider: Provider,
    threads: Threads,
    rope: Rope,
    nothing: Prefix,
    sessions: Sessions,
    /// What is left to do to the rows that come out: nothing, unless the weights are int8.
    finish: Option<Finish>,
}

enum Sessions {
    /// Over weights that all of them read. What one query needs is built at once, the rest when it
    /// is first needed.
    Shared(Box<Shared>),
    /// The one that owns the weights.
    Whole(Session),
}

struct Shared {
    weights: FloatWeights,
    few: Session,
    many: Option<Session>,
    long: Option<Session>,
    prefix: Option<Session>,
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
            prefix: None,
        };
        let sessions = Sessions::Shared(Box::new(shared));
        Self::new(library, config, sessions, provider, threads)
    }

    /// Of weights that one session takes: an accelerator keeps them, int8 ones are repacked.
    pub(super) fn whole(
        library: &'static Library,
        config: &ModelConfig,
        weights: &mut dyn Weights,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        let graph = graph::qwen3(weights, config, Form::Whole)?;
        let session = Session::new(library, graph, &provider, &threads)?;
        Self::new(library, config, Sessions::Whole(session), provider, threads)
    }

    fn new(
        library: &'static Library,
        config: &ModelConfig,
        sessions: Sessions,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        Ok(Self {
            nothing: Prefix::empty(config)?,
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

    fn route(&self, batch: &TokenBatch) -> Route {
        match self.sessions {
            Sessions::Shared(_) => Route::of(batch),
            Sessions::Whole(_) => Route::Whole,
        }
    }

    /// What running the batch takes beside the weights.
    pub(super) fn need(&self, batch: &TokenBatch) -> Need {
        let (rows, width, config) = (batch.rows(), batch.width(), &self.config);
        let long = match self.library.has_blockwise_attention() {
            true => Attention::Fused,
            false => Attention::Stored,
        };
        match self.route(batch) {
            Route::Short { prefix } => {
                let rest = Need::after(prefix, [rows, width - prefix], config, Attention::Stored);
                rest.or(Need::after(0, [1, prefix], config, long))
            }
            Route::Long => Need::of(batch, config, long),
            Route::Whole => Need::of(batch, config, Attention::Stored),
        }
    }

    /// What its library and threads reach at best.
    pub(super) fn peaks(&self, precision: Dtype) -> Result<Peaks> {
        peaks::measure(self.library, &self.provider, &self.threads, precision)
    }

    /// Runs the batch by its [`Route`].
    pub(super) fn run(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        match self.route(batch) {
            Route::Short { prefix: 0 } => self.run_short(batch, None),
            Route::Short { prefix } => {
                let (shared, rest) = batch.split_at(prefix);
                let prefix = self.prefix(&shared)?;
                self.run_short(&rest, Some(&prefix))
            }
            Route::Long => self.run_long(batch),
            Route::Whole => self.run_form(Form::Whole, batch, None),
        }
    }

    /// Runs a batch whose sequences go on after `prefix`.
    pub(super) fn run_short(
        &mut self,
        batch: &TokenBatch,
        prefix: Option<&Prefix>,
    ) -> Result<HiddenRows> {
        let form = match batch.rows() * batch.width() {
            ..=FEW_TOKENS => Form::Few,
            _ => Form::Many,
        };
        self.run_form(form, batch, prefix)
    }

    /// Runs a batch of any length, without a prefix.
    pub(super) fn run_long(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.run_form(Form::Long, batch, None)
    }

    /// The past that the one sequence of `batch` is to others which begin with it.
    pub(super) fn prefix(&mut self, batch: &TokenBatch) -> Result<Prefix> {
        self.with(Form::Prefix, batch, None, |outputs| {
            Prefix::of(batch.width(), outputs)
        })
    }

    fn run_form(
        &mut self,
        form: Form,
        batch: &TokenBatch,
        prefix: Option<&Prefix>,
    ) -> Result<HiddenRows> {
        let hidden = self.config.hidden_size();
        let mut rows = self.with(form, batch, prefix, |outputs| rows(batch, hidden, &outputs))?;
        if let Some(finish) = &self.finish {
            finish.apply(&mut rows.data);
        }
        Ok(rows)
    }

    /// Runs the graph of this form, which is built if it is not yet, and hands on its outputs.
    fn with<T>(
        &mut self,
        form: Form,
        batch: &TokenBatch,
        prefix: Option<&Prefix>,
        take: impl FnOnce(SessionOutputs<'_>) -> Result<T>,
    ) -> Result<T> {
        let session = match &mut self.sessions {
            Sessions::Whole(session) => session,
            Sessions::Shared(shared) => {
                let Shared {
                    weights,
                    few,
                    many,
                    long,
                    prefix,
                } = &mut **shared;
                let built = match form {
                    Form::Many => Some(many),
                    Form::Long => Some(long),
                    Form::Prefix => Some(prefix),
                    Form::Few | Form::Whole | Form::Block => None,
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
        let prefix = prefix.unwrap_or(&self.nothing);
        let inputs = inputs(form, batch, prefix, &mut self.rope);
        let inputs = inputs.map_err(|error| failed("run", error))?;
        take(session.run(inputs, batch.rows() * batch.width())?)
    }
}

/// The one output, checked to be `[rows, hidden]`.
fn rows(batch: &TokenBatch, hidden: usize, outputs: &SessionOutputs<'_>) -> Result<HiddenRows> {
    let output = outputs[0].try_extract_tensor::<f32>();
    let (shape, data) = output.map_err(|error| failed("run", error))?;
    let expected = [batch.rows() as i64, hidden as i64];
    if **shape != expected {
        let message = format!("expected an output of shape {expected:?}, found {shape}");
        return Err(failed("run", message));
    }
    Ok(HiddenRows {
        data: data.to_vec(),
        hidden,
    })
}
