//! The forms of the model's graph, and what each is given.

use ort::value::{Outlet, TensorElementType};

use super::super::ops::{Side, outlet};
use super::signed;
use crate::config::ModelConfig;

/// Token ids `(T)`.
pub(in crate::backend::onnx) const INPUT_IDS: &str = "input_ids";
/// Place of each token in its sequence `(B, L)`.
pub(in crate::backend::onnx) const POSITION_IDS: &str = "position_ids";
/// How much of the keys and values is given out `(2)`: one sequence, and how many of its tokens.
pub(in crate::backend::onnx) const KEPT: &str = "kept";
/// Place of each key, the past's first `(S)`.
pub(in crate::backend::onnx) const KEY_POSITIONS: &str = "key_positions";
/// The last key's place in each sequence, as GroupQueryAttention asks for it `(B)`.
pub(in crate::backend::onnx) const LAST_KEYS: &str = "last_keys";
/// Keys of a sequence, as GroupQueryAttention asks for it `()`.
pub(in crate::backend::onnx) const TOTAL_KEYS: &str = "total_keys";
/// Where each sequence's last token stands among the T, as `(B)`.
pub(in crate::backend::onnx) const LAST_TOKENS: &str = "last_tokens";
/// Cosines of each position's angles `(positions, D / 2)`.
pub(in crate::backend::onnx) const COSINES: &str = "cosines";
/// Sines of each position's angles `(positions, D / 2)`.
pub(in crate::backend::onnx) const SINES: &str = "sines";

/// The residual stream `(T, hidden)`, of a block alone.
pub(in crate::backend::onnx) const STREAM: &str = "stream";

/// A layer's keys and values of a past that all sequences share `(1, P, KV * D)`; P may be 0.
pub(in crate::backend::onnx) fn past_names(layer: usize) -> [String; 2] {
    ["key", "value"].map(|part| format!("past_key_values.{layer}.{part}"))
}

/// What a graph is for. The forms share their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Form {
    /// Few tokens in all, after a past. Attention stores its scores.
    Few,
    /// More tokens, in sequences up to a few hundred, after a past. Attention stores its scores.
    Many,
    /// Longer sequences, without a past. Attention stores no scores, if ONNX Runtime is new enough.
    Long,
    /// Any batch, after a past, by the one session that owns the weights, on the processor. Attention
    /// stores its scores.
    Packed,
    /// Any batch, without a past, by the one session that owns the weights, on an accelerator.
    /// Attention stores its scores.
    Whole,
    /// One block, from residual stream to residual stream.
    Block,
}

impl Form {
    /// Whether it goes on after a past, and gives out what can become one: after the last tokens'
    /// rows each layer's keys and then its values, as far as [`KEPT`] says.
    pub(in crate::backend::onnx) fn has_past(self) -> bool {
        matches!(self, Self::Few | Self::Many | Self::Packed)
    }

    /// Whether it gives the last tokens' rows.
    pub(in crate::backend::onnx) fn pools(self) -> bool {
        self != Self::Block
    }

    /// Whether attention stores no scores, if ONNX Runtime is new enough.
    pub(in crate::backend::onnx) fn is_grouped(self) -> bool {
        self == Self::Long
    }

    /// Which side of a product a weight stands on. Right-hand operands are packed for each run: few
    /// tokens are sooner packed than the weight, many are not.
    pub(super) fn side(self) -> Side {
        match self {
            Self::Few | Self::Packed | Self::Whole | Self::Block => Side::Left,
            Self::Many | Self::Long => Side::Right,
        }
    }

    /// What the graph reads, its weights apart.
    pub(super) fn inputs(self, config: &ModelConfig) -> Vec<Outlet> {
        use TensorElementType::{Float32, Int32, Int64};
        let half = signed(config.head_dim() / 2);
        let first = match self {
            Self::Block => outlet(STREAM, Float32, &[-1, signed(config.hidden_size())]),
            _ => outlet(INPUT_IDS, Int64, &[-1]),
        };
        let mut inputs = vec![
            first,
            outlet(POSITION_IDS, Int64, &[-1, -1]),
            outlet(COSINES, Float32, &[-1, half]),
            outlet(SINES, Float32, &[-1, half]),
        ];
        if self.pools() {
            inputs.push(outlet(LAST_TOKENS, Int64, &[-1]));
            inputs.push(outlet(KEY_POSITIONS, Int64, &[-1]));
        }
        if self.has_past() {
            let columns = signed(config.key_value_size());
            let pasts = (0..config.num_hidden_layers()).flat_map(past_names);
            inputs.extend(pasts.map(|name| outlet(&name, Float32, &[1, -1, columns])));
            inputs.push(outlet(KEPT, Int64, &[2]));
        }
        if self.is_grouped() {
            inputs.push(outlet(LAST_KEYS, Int32, &[-1]));
            inputs.push(outlet(TOTAL_KEYS, Int32, &[]));
        }
        inputs
    }
}
