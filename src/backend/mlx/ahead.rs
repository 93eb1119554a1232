//! Passes of a model in their order: the next one is begun before the rows of this one are read.

use std::cell::RefCell;

use super::array::MLX;
use super::begun::Begun;
use super::element_type;
use super::model::Model;
use super::runtime;
use crate::backend::admission::{Attention, Need, run_admitted};
use crate::backend::{BackendInfo, HiddenRows};
use crate::batch::TokenBatch;
use crate::dtype::Dtype;
use crate::error::Result;

/// A batch that was begun, in the model's precision, before it was asked for.
pub(super) struct Ahead {
    batch: TokenBatch,
    begun: Begun,
}

/// A model for one call.
pub(super) struct Passes<'a> {
    pub(super) model: &'a mut Model,
    pub(super) info: &'a BackendInfo,
    pub(super) ahead: &'a mut Option<Ahead>,
}

impl Passes<'_> {
    /// Runs the batch, in parts where memory does not take all of it. At most it and `next` are on
    /// the device at one time, and only if memory takes both.
    pub(super) fn run(
        &mut self,
        batch: &TokenBatch,
        next: Option<&TokenBatch>,
        compute: Dtype,
    ) -> Result<HiddenRows> {
        let foreseen = |ahead: &mut Ahead| ahead.batch == *batch && compute == self.info.precision;
        let begun = match self.ahead.take_if(foreseen) {
            Some(ahead) => ahead.begun,
            None => {
                // What comes in between: from here on the other needs no memory but for its rows.
                if let Some(ahead) = &self.ahead {
                    ahead.begun.wait()?;
                }
                let free = self.free(compute)?;
                if check(self.need(batch, compute), free).is_err() {
                    return self.run_in_parts(batch, compute, free);
                }
                self.begin(batch, compute)?
            }
        };
        if let Some(next) = next {
            *self.ahead = self.begin_beside(batch, next)?;
        }
        begun.read()
    }

    /// Begins on `next` while `batch` runs, if memory takes both.
    fn begin_beside(&mut self, batch: &TokenBatch, next: &TokenBatch) -> Result<Option<Ahead>> {
        let precision = self.info.precision;
        // Some of the first is taken already, and counted twice: the sum errs on the safe side.
        let both = self.need(batch, precision).and(self.need(next, precision));
        if check(both, self.free(precision)?).is_err() {
            return Ok(None);
        }
        Ok(Some(Ahead {
            begun: self.begin(next, precision)?,
            batch: next.clone(),
        }))
    }

    fn run_in_parts(
        &mut self,
        batch: &TokenBatch,
        compute: Dtype,
        free: usize,
    ) -> Result<HiddenRows> {
        let passes = RefCell::new(self);
        let check = |part: &TokenBatch| check(passes.borrow().need(part, compute), free);
        run_admitted(MLX, batch, &check, &mut |part| {
            passes.borrow_mut().begin(part, compute)?.read()
        })
    }

    fn begin(&mut self, batch: &TokenBatch, compute: Dtype) -> Result<Begun> {
        let compute_type = element_type(compute);
        let route = self
            .model
            .route(batch, compute_type, self.attention(compute));
        self.model.begin(batch, route, compute_type)
    }

    /// What running the batch takes beside the weights.
    fn need(&self, batch: &TokenBatch, compute: Dtype) -> Need {
        let attention = self.attention(compute);
        let route = self.model.route(batch, element_type(compute), attention);
        self.model.need(batch, route, attention)
    }

    /// Bytes left beside the weights and what is on the device now.
    fn free(&self, compute: Dtype) -> Result<usize> {
        runtime::free_for(&self.model.config, self.info, compute)
    }

    fn attention(&self, compute: Dtype) -> Attention {
        runtime::attention(&self.model.config, self.info, compute)
    }
}

/// Whether the need is met, or why it is not.
fn check(need: Need, free: usize) -> Result<(), String> {
    need.check(Some(free), "under MLX's memory limit")
}
