//! What an ONNX file needs of `config.json`, whatever the architecture.

use std::path::Path;

use serde_json::Value;

use super::fields::Fields;
use crate::error::Result;
use crate::json;

/// Families whose positions begin after the pad id, so that the table's first rows are never read.
const POSITIONS_AFTER_PAD: [&str; 5] = [
    "camembert",
    "mpnet",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
];

/// Sizes of a model whose computation is in a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherConfig {
    pub(crate) model_type: String,
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: Option<usize>,
    /// Longest sequence, in tokens.
    pub(crate) context: usize,
    pub(crate) pad_token_id: u32,
    /// Attention heads and the width of the feed-forward layer, for estimates of memory.
    pub(crate) heads: Option<usize>,
    pub(crate) intermediate_size: Option<usize>,
}

impl OtherConfig {
    pub(crate) fn from_file(path: &Path) -> Result<Self> {
        let text = json::read(path, "the model's configuration")?;
        let fields = Fields::parse(path, &text)?;
        let model_type = fields.required("model_type", "a string", Value::as_str)?;
        let vocab_size = fields.dimension("vocab_size")?;
        let pad = fields.optional("pad_token_id", "a token id of the vocabulary", |value| {
            let id = u32::try_from(value.as_u64()?).ok()?;
            ((id as usize) < vocab_size).then_some(id)
        })?;
        let pad_token_id = pad.unwrap_or(0);
        let size = |key| fields.optional(key, "an integer above 0", above_zero);
        // DistilBERT has names of its own.
        let either = |a, b| Ok(size(a)?.or(size(b)?));
        let positions = fields.dimension("max_position_embeddings")?;
        let unread = match POSITIONS_AFTER_PAD.contains(&model_type) {
            true => pad_token_id as usize + 1,
            false => 0,
        };
        let context = positions.checked_sub(unread).filter(|&context| context > 0);
        let too_few = || {
            fields.invalid(
                "max_position_embeddings",
                format!("more than {unread}"),
                positions,
            )
        };
        Ok(Self {
            model_type: model_type.to_owned(),
            vocab_size,
            hidden_size: either("hidden_size", "dim")?,
            context: context.ok_or_else(too_few)?,
            pad_token_id,
            heads: either("num_attention_heads", "n_heads")?,
            intermediate_size: either("intermediate_size", "hidden_dim")?,
        })
    }

    /// Whether texts get Qwen3-Embedding's instructions and its one end token.
    pub(crate) fn is_qwen3(&self) -> bool {
        self.model_type == "qwen3"
    }
}

fn above_zero(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok().filter(|&n| n > 0)
}
