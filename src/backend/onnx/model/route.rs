//! How a batch runs, and what that takes.

use super::super::past;
use super::{Model, Sessions};
use crate::backend::admission::{Attention, Need};
use crate::batch::TokenBatch;

/// The longest sequences of the graph that takes a past, and more memory for each token.
const LONGEST_SHORT: usize = 256;

/// How a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Route {
    /// After `shared` tokens which the sequences begin with.
    Short { shared: usize },
    /// Without a past.
    Long,
    /// Without a past, on an accelerator.
    Whole,
}

impl Model {
    pub(in crate::backend::onnx) fn route(&self, batch: &TokenBatch) -> Route {
        let shared = match batch.prefix() {
            prefix if self.prefixes.takes(prefix) => prefix,
            _ => past::worth_sharing(batch),
        };
        let width = batch.width() - shared;
        match self.sessions {
            Sessions::Whole(_) => Route::Whole,
            Sessions::Shared(_) => match width {
                ..=LONGEST_SHORT => Route::Short { shared },
                _ => Route::Long,
            },
        }
    }

    /// What running the batch takes beside the weights.
    pub(in crate::backend::onnx) fn need(&self, batch: &TokenBatch) -> Need {
        let (rows, width, config) = (batch.rows(), batch.width(), &self.config);
        let after = |past, shape| Need::after(past, shape, config, Attention::Fused);
        match self.route(batch) {
            Route::Short { shared } => {
                after(0, [rows, width]).or(after(shared, [rows, width - shared]))
            }
            Route::Long => Need::of(batch, config, Attention::Fused),
            Route::Whole => Need::of(batch, config, Attention::Stored),
        }
    }
}
