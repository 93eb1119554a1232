//! The forms of the model's graph, and what each is given.

use ort::value::{Outlet, TensorElementType};

use super::super::ops::{Side, outlet};
use super::signed;
use crate::config::ModelConfig;

/// Token ids `(T)`.
pub(in crate::backend::onnx) const INPUT_IDS: &str = "input_ids";
/// Place of each token in its sequence `(B, L)`.
pub(in crate::backend::onnx) const POSITION_IDS: &str = "position_ids";
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

/// A layer's keys and values of a past that all sequences share `(1, KV, P, D)`; P may be 0.
pub(in crate::backend::onnx) fn past(layer: usize) -> [String; 2] {
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
    /// The keys and values of one sequence, to be the past of others.
    Prefix,
    /// Any batch, without a past, by the one session that owns the weights. Attention stores its
    /// scores.
    Whole,
    /// One block, from residual stream to residual stream.
    Block,
}

impl Form {
    pub(in crate::backend::onnx) fn has_past(self) -> bool {
        matches!(self, Self::Few | Self::Many)
    }

    /// Whether it gives the last tokens' rows.
    pub(in crate::backend::onnx) fn pools(self) -> bool {
        !matches!(self, Self::Prefix | Self::Block)
    }

    /// Whether attention stores no scores, if ONNX Runtime is new enough.
    pub(in crate::backend::onnx) fn is_grouped(self) -> bool {
        matches!(self, Self::Long | Self::Prefix)
    }

    /// Which side of a product a weight stands on. Right-hand operands are packed for each run: few
    /// tokens are sooner packed than the weight, many are not.
    pub(super) fn side(self) -> Side {
        match self {
            Self::Few | Self::Prefix | Self::Whole | Self::Block => Side::Left,
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
            let [kv, d] = [config.num_key_value_heads(), config.head_dim()].map(signed);
            let pasts = (0..config.num_hidden_layers()).flat_map(past);
            inputs.extend(pasts.map(|name| outlet(&name, Float32, &[1, kv, -1, d])));
        }
        if self.is_grouped() {
            inputs.push(outlet(LAST_KEYS, Int32, &[-1]));
            inputs.push(outlet(TOTAL_KEYS, Int32, &[]));
        }
        inputs
    }
}
