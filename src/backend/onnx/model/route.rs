//! How a batch runs, and what that takes.

use super::super::past;
use super::{Model, Sessions};
use crate::backend::admission::{Attention, Need};
use crate::batch::TokenBatch;

/// The longest sequences that the standard operator attends over where there is one that stores no
/// scores: from here on that is faster.
const LONGEST_SHORT: usize = 256;

/// Tokens of one sequence that run at a time where only the standard operator can attend: it stores
/// scores of each of them with all before.
pub(in crate::backend::onnx) const PIECE: usize = 512;

/// How a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Route {
    /// At once, by the standard operator, after `shared` tokens which the sequences begin with.
    Short { shared: usize },
    /// At once, by the operator that stores no scores.
    Long,
    /// Each sequence by itself in pieces, by the standard operator.
    Pieces,
    /// At once, by the standard operator, in a session that knows no past.
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
            Sessions::Shared(_) if self.library.has_blockwise_attention() => match width {
                ..=LONGEST_SHORT => Route::Short { shared },
                _ => Route::Long,
            },
            Sessions::Shared(_) => match width {
                ..=PIECE => Route::Short { shared },
                _ => Route::Pieces,
            },
        }
    }

    /// What running the batch takes beside the weights.
    pub(in crate::backend::onnx) fn need(&self, batch: &TokenBatch) -> Need {
        let (rows, width, config) = (batch.rows(), batch.width(), &self.config);
        let after = |past, shape| Need::after(past, shape, config, Attention::Stored);
        match self.route(batch) {
            Route::Short { shared } => {
                after(0, [rows, width]).or(after(shared, [rows, width - shared]))
            }
            Route::Long => Need::of(batch, config, Attention::Fused),
            // The past of the last piece, and what one piece adds: as it comes out, and copied.
            Route::Pieces => after(width + 2 * PIECE, [1, PIECE]),
            Route::Whole => Need::of(batch, config, Attention::Stored),
        }
    }
}
