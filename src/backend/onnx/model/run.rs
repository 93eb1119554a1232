//! What runs in which session of a model, and after what.

use std::rc::Rc;

use super::super::graph::Form;
use super::super::past::{self, Past};
use super::{Model, Route};
use crate::backend::HiddenRows;
use crate::batch::TokenBatch;
use crate::error::Result;

impl Model {
    /// Runs the batch by its [`Route`].
    pub(in crate::backend::onnx) fn run(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let mut rows = match self.route(batch) {
            Route::Short { shared: 0 } => self.run_form(Form::Short, batch),
            Route::Short { shared } => self.run_short(batch, shared),
            Route::Long => self.run_form(Form::Long, batch),
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
                let (_, past) = self.run_after(Form::Short, None, &first, shared)?;
                self.keep(batch, &first, past)
            }
            None => {
                let (rows, past) = self.run_after(Form::Short, None, batch, shared)?;
                self.keep(batch, &first, past);
                return Ok(rows);
            }
        };
        Ok(self.run_after(Form::Short, Some(&past), &rest, 0)?.0)
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

    /// Runs a batch by a form of the graph, without a past.
    pub(in crate::backend::onnx) fn run_form(
        &mut self,
        form: Form,
        batch: &TokenBatch,
    ) -> Result<HiddenRows> {
        Ok(self.run_after(form, None, batch, 0)?.0)
    }
}
