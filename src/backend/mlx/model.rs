//! A loaded model, and how batches run on it: at once, behind a prefix, or in pieces.

use std::rc::Rc;

use super::array::{Array, failed};
use super::begun::Begun;
use super::ffi::bridge::ElementType;
use super::past::Past;
use super::qwen3::Qwen3;
use crate::backend::Work;
use crate::backend::admission::{Attention, Need};
use crate::backend::prefix_cache::PrefixCache;
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::error::Result;

pub(super) struct Model {
    pub(super) qwen3: Qwen3,
    pub(super) config: ModelConfig,
    pub(super) prefixes: PrefixCache<Past>,
    /// The one that prefixes are kept in.
    pub(super) precision: ElementType,
    pub(super) work: Work,
}

/// How a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Once,
    /// Behind so many tokens that all sequences begin with, whose keys and values are kept.
    Behind(usize),
    /// Each sequence by itself, a layer at a time and in it so many tokens at a time.
    Pieces(usize),
}

/// The most tokens of a sequence that run at once, with a kernel that stores no scores and without.
fn piece(attention: Attention) -> usize {
    match attention {
        Attention::Fused => 2048,
        Attention::Stored => 512,
    }
}

impl Model {
    pub(super) fn route(
        &self,
        batch: &TokenBatch,
        compute: ElementType,
        attention: Attention,
    ) -> Route {
        match batch.prefix() {
            _ if batch.width() > piece(attention) => Route::Pieces(piece(attention)),
            prefix if compute == self.precision && self.prefixes.takes(prefix) => {
                Route::Behind(prefix)
            }
            _ => Route::Once,
        }
    }

    /// What running the batch takes beside the weights.
    pub(super) fn need(&self, batch: &TokenBatch, route: Route, attention: Attention) -> Need {
        let (rows, width, config) = (batch.rows(), batch.width(), &self.config);
        match route {
            Route::Once => Need::of(batch, config, attention),
            Route::Behind(prefix) => {
                let rest = Need::after(prefix, [rows, width - prefix], config, attention);
                rest.or(Need::after(0, [1, prefix], config, attention))
            }
            Route::Pieces(piece) => Need::in_pieces(width, piece, config, attention),
        }
    }

    /// What was computed so far.
    pub(super) fn work(&self) -> Work {
        Work {
            prefix_bytes: self.prefixes.bytes(),
            ..self.work
        }
    }

    /// Hands the batch to the device. A prefix that is not kept yet, and pieces, are waited for.
    pub(super) fn begin(
        &mut self,
        batch: &TokenBatch,
        route: Route,
        compute: ElementType,
    ) -> Result<Begun> {
        match route {
            Route::Once => self.begin_after(None, batch, compute),
            Route::Behind(prefix) => {
                let (first, rest) = batch.split_at(prefix);
                let (past, computed) = self.prefix(&first)?;
                self.work.saved_tokens += (prefix * (batch.rows() - computed)) as u64;
                self.begin_after(Some(&past), &rest, compute)
            }
            Route::Pieces(piece) => self.begin_in_pieces(batch, piece, compute),
        }
    }

    /// The past that the one sequence of `first` is, and how often it was computed for that.
    fn prefix(&mut self, first: &TokenBatch) -> Result<(Rc<Past>, usize)> {
        if let Some(past) = self.prefixes.find(first.ids()) {
            self.work.prefix_hits += 1;
            return Ok((past, 0));
        }
        let _span = tracing::debug_span!("pass", rows = 1, width = first.width()).entered();
        let past = self.qwen3.past(first.ids(), self.precision)?;
        self.work.prefix_misses += 1;
        self.work.ran(first);
        Ok((self.prefixes.keep(first.ids(), past), 1))
    }

    fn begin_after(
        &mut self,
        past: Option<&Past>,
        batch: &TokenBatch,
        compute: ElementType,
    ) -> Result<Begun> {
        let shape @ [rows, width] = [batch.rows(), batch.width()];
        let _span = tracing::debug_span!("pass", rows, width).entered();
        let last = batch
            .lengths()
            .iter()
            .map(|length| u32::try_from(length - 1).map_err(|e| failed("take", e)))
            .collect::<Result<Vec<_>>>()?;
        let built = tracing::debug_span!("graph")
            .in_scope(|| self.qwen3.forward(batch.ids(), shape, past, &last, compute));
        let begun = Begun::new(&built?)?;
        self.work.ran(batch);
        Ok(begun)
    }

    fn begin_in_pieces(
        &mut self,
        batch: &TokenBatch,
        piece: usize,
        compute: ElementType,
    ) -> Result<Begun> {
        let mut rows: Option<Array> = None;
        for row in 0..batch.rows() {
            let sequence = batch.part(row..row + 1);
            let _span = tracing::debug_span!("pass", rows = 1, width = sequence.width()).entered();
            let row = self
                .qwen3
                .forward_in_pieces(sequence.ids(), piece, compute)?;
            let joined = match &rows {
                None => row,
                Some(before) => before.concatenate(&row, 0)?,
            };
            joined.eval()?;
            rows = Some(joined);
            self.work.ran(&sequence);
        }
        let rows = rows.ok_or_else(|| failed("forward", "no sequences"))?;
        Begun::new(&rows)
    }
}
