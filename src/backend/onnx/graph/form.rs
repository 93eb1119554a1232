//! The forms of the model's graph, and what each is given.

use std::ops::Range;

use ort::value::{Outlet, TensorElementType};

use super::super::ops::Axis::{Any, Named, Of};
use super::super::ops::{Axis, outlet};
use super::signed;
use crate::config::ModelConfig;

/// The axis of sequences.
pub(super) const SEQUENCES: Axis = Named("B");

/// Token ids `(T)`.
pub(in crate::backend::onnx) const INPUT_IDS: &str = "input_ids";
/// Place of each token in its sequence `(B, L)`.
pub(in crate::backend::onnx) const POSITION_IDS: &str = "position_ids";
/// Of how many tokens of the first sequence keys and values are given out `(1)`.
pub(in crate::backend::onnx) const KEPT: &str = "kept";
/// Place of each key `(L)`.
pub(in crate::backend::onnx) const KEY_POSITIONS: &str = "key_positions";
/// Where each sequence's last token stands among the T, as `(B)`.
pub(in crate::backend::onnx) const LAST_TOKENS: &str = "last_tokens";
/// Cosines of each position's angles `(positions, D / 2)`.
pub(in crate::backend::onnx) const COSINES: &str = "cosines";
/// Sines of each position's angles `(positions, D / 2)`.
pub(in crate::backend::onnx) const SINES: &str = "sines";

/// The residual stream `(T, hidden)`, where a graph goes on with it or gives it.
pub(in crate::backend::onnx) const STREAM: &str = "stream";

/// A layer's keys and values of a past that all sequences share `(1, P, KV * D)`; P may be 0.
pub(in crate::backend::onnx) fn past_names(layer: usize) -> [String; 2] {
    ["key", "value"].map(|part| format!("past_key_values.{layer}.{part}"))
}

/// Successive layers that one graph computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::onnx) struct Span {
    pub(in crate::backend::onnx) layers: Range<usize>,
    /// Whether they are all, from token ids to the last tokens' rows; else they go from residual stream
    /// to residual stream.
    pub(in crate::backend::onnx) whole: bool,
}

impl Span {
    /// The whole model.
    pub(in crate::backend::onnx) fn whole(config: &ModelConfig) -> Self {
        Self {
            layers: 0..config.num_hidden_layers(),
            whole: true,
        }
    }

    /// Some blocks, from residual stream to residual stream.
    pub(in crate::backend::onnx) fn blocks(layers: Range<usize>) -> Self {
        Self {
            layers,
            whole: false,
        }
    }
}

/// What a graph is for. The forms share their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Form {
    /// Sequences up to a few hundred tokens, after a past, on the processor.
    Short,
    /// Longer sequences, without a past, on the processor.
    Long,
    /// Any batch, without a past, by a session that owns its weights. Attention stores its scores.
    Whole,
}

impl Form {
    /// Whether it goes on after a past, and gives out what can become one: after the last tokens'
    /// rows each layer's keys and then its values, as far as [`KEPT`] says.
    pub(in crate::backend::onnx) fn has_past(self) -> bool {
        self == Self::Short
    }

    /// Whether attention, and a residual sum with the norm after it, are operators of our own, which are
    /// for the processor.
    pub(in crate::backend::onnx) fn has_own_operators(self) -> bool {
        self != Self::Whole
    }

    /// The axis of all tokens of a run. Where it has a name, ONNX Runtime holds an array for the next
    /// layer's of the same size: of a long text these would be a fourth of the peak.
    pub(super) fn tokens(self) -> Axis {
        match self {
            Self::Long => Any,
            _ => Named("T"),
        }
    }

    /// What the graph reads, its weights apart.
    pub(super) fn inputs(self, config: &ModelConfig, span: &Span) -> Vec<Outlet> {
        use TensorElementType::{Float32, Int64};
        let table = [Any, Of(signed(config.head_dim() / 2))];
        let first = match span.whole {
            true => outlet(INPUT_IDS, Int64, &[self.tokens()]),
            false => outlet(
                STREAM,
                Float32,
                &[self.tokens(), Of(signed(config.hidden_size()))],
            ),
        };
        let mut inputs = vec![
            first,
            outlet(POSITION_IDS, Int64, &[Any, Any]),
            outlet(COSINES, Float32, &table),
            outlet(SINES, Float32, &table),
        ];
        if span.whole {
            inputs.push(outlet(LAST_TOKENS, Int64, &[SEQUENCES]));
        }
        if span.whole && !self.has_own_operators() {
            inputs.push(outlet(KEY_POSITIONS, Int64, &[Any]));
        }
        if self.has_past() {
            let shape = [Of(1), Any, Of(signed(config.key_value_size()))];
            let pasts = span.layers.clone().flat_map(past_names);
            inputs.extend(pasts.map(|name| outlet(&name, Float32, &shape)));
            inputs.push(outlet(KEPT, Int64, &[Of(1)]));
        }
        inputs
    }
}
