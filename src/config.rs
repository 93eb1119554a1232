//! `config.json` -> [`ModelConfig`]: a configuration that exists is one this crate can run.

mod fields;
mod other;
mod quantization;
mod supported;

use std::path::Path;

use serde_json::Value;

use crate::dtype::Dtype;
use crate::error::Result;
use crate::json;
use fields::{Fields, MAX_DIMENSION};

pub(crate) use other::OtherConfig;
pub(crate) use quantization::Quantizations;

/// The shape of a dense Qwen3 model, as its `config.json` gives it.
///
/// There is no other way to make one, so all of it has been checked: no size is zero, KV heads
/// divide query heads, `head_dim` is even, every weight can be addressed.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: f32,
    tie_word_embeddings: bool,
    dtype: Option<Dtype>,
    quantization: Option<Quantizations>,
}

impl ModelConfig {
    /// Reads `config.json` at `path`.
    ///
    /// # Errors
    /// `MissingFile` or `Io` if it cannot be read, and those of [`ModelConfig::parse`].
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::parse(path, &json::read(path, "the model's configuration")?)
    }

    /// Parses the text of `config.json`; `path` is named in errors.
    ///
    /// # Errors
    /// `Json` if `text` is no JSON object or has a key twice, `Config` if a key is missing or out
    /// of range, `UnsupportedModel` if the file describes another model than a plain dense Qwen3.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let fields = Fields::parse(path, text)?;
        supported::check_keys(&fields)?;
        let tie = fields.optional("tie_word_embeddings", "true or false", Value::as_bool)?;
        let config = Self {
            hidden_size: fields.dimension("hidden_size")?,
            intermediate_size: fields.dimension("intermediate_size")?,
            num_hidden_layers: fields.dimension("num_hidden_layers")?,
            num_attention_heads: fields.dimension("num_attention_heads")?,
            num_key_value_heads: fields.dimension("num_key_value_heads")?,
            head_dim: fields.dimension("head_dim")?,
            vocab_size: fields.dimension("vocab_size")?,
            max_position_embeddings: fields.dimension("max_position_embeddings")?,
            rms_norm_eps: fields.required("rms_norm_eps", fields::POSITIVE, fields::positive)?,
            rope_theta: rope_theta(&fields)?,
            tie_word_embeddings: tie.unwrap_or(false),
            dtype: dtype(&fields)?,
            quantization: quantization::parse(&fields)?,
        };
        config.check_heads(&fields)?;
        config.check_sizes(&fields)?;
        supported::check_layer_types(&fields, config.num_hidden_layers)?;
        Ok(config)
    }

    /// Width of the residual stream and of the vectors.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Width of the SwiGLU layer.
    pub fn intermediate_size(&self) -> usize {
        self.intermediate_size
    }

    /// Transformer blocks.
    pub fn num_hidden_layers(&self) -> usize {
        self.num_hidden_layers
    }

    /// Query heads.
    pub fn num_attention_heads(&self) -> usize {
        self.num_attention_heads
    }

    /// Key and value heads; they divide the query heads.
    pub fn num_key_value_heads(&self) -> usize {
        self.num_key_value_heads
    }

    /// Width of one head, an even number. Times heads it need not be `hidden_size`.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Width of all query heads: `num_attention_heads * head_dim`.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key heads, or all value heads: `num_key_value_heads * head_dim`.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Rows of the embedding table: every token id is below.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Longest sequence, in tokens.
    pub fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    /// Epsilon of every RMSNorm.
    pub fn rms_norm_eps(&self) -> f32 {
        self.rms_norm_eps
    }

    /// Base of the rotary position embedding.
    pub fn rope_theta(&self) -> f32 {
        self.rope_theta
    }

    /// Whether the language model's head, which embeddings do not need, is the embedding table.
    pub fn tie_word_embeddings(&self) -> bool {
        self.tie_word_embeddings
    }

    /// The element type that the file declares; what a tensor really has is in the checkpoint.
    pub fn dtype(&self) -> Option<Dtype> {
        self.dtype
    }

    /// How matrices are packed, if any are quantised.
    pub(crate) fn quantization(&self) -> Option<&Quantizations> {
        self.quantization.as_ref()
    }

    fn check_heads(&self, fields: &Fields<'_>) -> Result<()> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("a multiple of num_key_value_heads ({kv_heads})");
            return Err(fields.invalid("num_attention_heads", expected, heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(fields.invalid("head_dim", "an even number", self.head_dim));
        }
        Ok(())
    }

    /// Each weight, also QKV and gate/up when fused, must have at most `i32::MAX` rows, since MLX
    /// keeps a dimension in an i32, and at most `isize::MAX` bytes in f32, since no Rust slice may
    /// be longer. What a backend can hold of that, it says itself.
    fn check_sizes(&self, fields: &Fields<'_>) -> Result<()> {
        // A count that saturates is far above the bound.
        let key_value_heads = self.num_key_value_heads.saturating_mul(2);
        let heads = self.num_attention_heads.saturating_add(key_value_heads);
        for (key, rows) in [
            ("vocab_size", self.vocab_size),
            ("num_attention_heads", heads.saturating_mul(self.head_dim)),
            (
                "intermediate_size",
                self.intermediate_size.saturating_mul(2),
            ),
        ] {
            let elements = rows.checked_mul(self.hidden_size);
            let bytes = elements.and_then(|elements| elements.checked_mul(Dtype::F32.size()));
            let addressable = bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok());
            if rows > MAX_DIMENSION || !addressable {
                let expected = format!(
                    "a weight of at most {MAX_DIMENSION} rows and {} bytes in f32",
                    isize::MAX
                );
                let found = format!("{rows} rows of {} elements", self.hidden_size);
                return Err(fields.invalid(key, expected, found));
            }
        }
        Ok(())
    }
}

/// At the top level up to transformers 4, in `rope_parameters` since 5.
fn rope_theta(fields: &Fields<'_>) -> Result<f32> {
    fields.optional("rope_parameters", "an object", Value::as_object)?;
    let keys = ["rope_theta", "rope_parameters.rope_theta"];
    let theta = fields.renamed(keys, fields::POSITIVE, fields::positive)?;
    theta.ok_or_else(|| fields.invalid("rope_theta", fields::POSITIVE, "nothing"))
}

/// `torch_dtype` up to transformers 4, `dtype` since 5.
fn dtype(fields: &Fields<'_>) -> Result<Option<Dtype>> {
    fields.renamed(
        ["torch_dtype", "dtype"],
        "float32, float16 or bfloat16",
        |value| value.as_str().and_then(Dtype::from_config),
    )
}
