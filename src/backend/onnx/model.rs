//! The sessions of one model over one copy of its weights, and what runs in which of them.

mod route;

use std::rc::Rc;

use ort::session::SessionOutputs;
use ort::value::DynValue;

use super::failed;
use super::graph::{self, Form};
use super::inputs::{Pass, inputs};
use super::int8::Finish;
use super::library::Library;
use super::past::{self, Past};
use super::providers::Provider;
use super::rope::Rope;
use super::session::Session;
use super::threads::Threads;
use super::weights::{FloatWeights, Weights};
use crate::backend::prefix_cache::PrefixCache;
use crate::backend::{HiddenRows, Work};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::error::Result;

pub(super) use route::{PIECE, Route};

/// The most tokens of a batch, padding included, for which weights on the left of products are faster.
const FEW_TOKENS: usize = 128;

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

    /// Of int8 weights, which one session repacks.
    pub(super) fn packed(
        library: &'static Library,
        config: &ModelConfig,
        weights: &mut dyn Weights,
        provider: Provider,
        threads: Threads,
    ) -> Result<Self> {
        let graph = graph::qwen3(weights, config, Form::Packed)?;
        let session = Session::new(library, graph, &provider, &threads)?;
        Self::new(
            library,
            config,
            Sessions::Packed(session),
            provider,
            threads,
        )
    }

    /// Of weights that an accelerator keeps.
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

    /// Runs the batch by its [`Route`].
    pub(super) fn run(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let mut rows = match self.route(batch) {
            Route::Short { shared: 0 } => self.run_at_once(batch),
            Route::Short { shared } => self.run_short(batch, shared),
            Route::Long => self.run_form(Form::Long, batch),
            Route::Pieces => self.run_in_pieces(batch),
            Route::Whole => self.run_form(Form::Whole, batch),
        }?;
        if let Some(finish) = &self.finish {
            finish.apply(&mut rows.data);
        }
        Ok(rows)
    }

    /// Runs a batch of which the sequences begin with the same `shared` tokens, and computes these
    /// once, or not at all.
    fn run_short(&mut self, batch: &TokenBatch, shared: usize) -> Result<HiddenRows> {
        let (first, rest) = batch.split_at(shared);
        let saved = |rows| (shared * rows) as u64;
        let past = match self.prefixes.find(first.ids()) {
            Some(past) => {
                self.work.prefix_hits += 1;
                self.work.saved_tokens += saved(batch.rows());
                past
            }
            None if past::pays(shared, batch) => {
                self.work.saved_tokens += saved(batch.rows() - 1);
                let (_, past) = self.run_after(None, &first, shared)?;
                self.keep(batch, &first, past)
            }
            None => {
                let (rows, past) = self.run_after(None, batch, shared)?;
                self.keep(batch, &first, past);
                return Ok(rows);
            }
        };
        Ok(self.run_after(Some(&past), &rest, 0)?.0)
    }

    /// Keeps what `batch` names as its prefix.
    fn keep(&mut self, batch: &TokenBatch, first: &TokenBatch, past: Past) -> Rc<Past> {
        match batch.prefix() == first.width() {
            true => {
                self.work.prefix_misses += 1;
                self.prefixes.keep(first.ids(), past)
            }
            false => Rc::new(past),
        }
    }

    /// Runs each sequence by itself, a piece of it at a time after those before.
    pub(super) fn run_in_pieces(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let mut data = Vec::new();
        for row in 0..batch.rows() {
            let mut rest = batch.part(row..row + 1);
            let mut past = Past::with_room(&self.config, rest.width())?;
            while rest.width() > PIECE {
                let (piece, after) = rest.split_at(PIECE);
                let (_, more) = self.run_after(Some(&past), &piece, PIECE)?;
                past.extend(&more);
                rest = after;
            }
            data.extend(self.run_after(Some(&past), &rest, 0)?.0.data);
        }
        Ok(HiddenRows {
            data,
            hidden: self.config.hidden_size(),
        })
    }

    /// Runs a batch by the standard operator, without a past.
    pub(super) fn run_at_once(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        Ok(self.run_after(None, batch, 0)?.0)
    }

    /// Runs a batch whose sequences go on after `past`; its rows, and the past that the first `kept`
    /// tokens of its first sequence are to others.
    fn run_after(
        &mut self,
        past: Option<&Past>,
        batch: &TokenBatch,
        kept: usize,
    ) -> Result<(HiddenRows, Past)> {
        let form = match (&self.sessions, batch.rows() * batch.width()) {
            (Sessions::Packed(_), _) => Form::Packed,
            (_, ..=FEW_TOKENS) => Form::Few,
            _ => Form::Many,
        };
        let hidden = self.config.hidden_size();
        self.with(form, past, batch, kept, |outputs| {
            let past = Past::of(kept, outputs)?;
            Ok((rows(batch, hidden, outputs)?, past))
        })
    }

    /// Runs a batch by a form of the graph that knows no past.
    pub(super) fn run_form(&mut self, form: Form, batch: &TokenBatch) -> Result<HiddenRows> {
        let hidden = self.config.hidden_size();
        self.with(form, None, batch, 0, |outputs| rows(batch, hidden, outputs))
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

/// The first output, checked to be `[rows, hidden]`.
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
