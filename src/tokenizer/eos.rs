//! Which token ends a sequence, found in what the model directory declares.

use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer as HfTokenizer;
use tokenizers::processors::PostProcessorWrapper;

use super::unusable;
use crate::error::Result;
use crate::json;

/// The token that Qwen3-Embedding was trained to end on. The chat models' `<|im_end|>`, which
/// many tokenizer configurations name as `eos_token`, is another.
const ENDOFTEXT: &str = "<|endoftext|>";

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    #[serde(default)]
    pad_token: Option<Token>,
}

/// A token is written as a string or as an object with its content.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Token {
    Plain(String),
    Added { content: String },
}

impl Token {
    pub(super) fn into_content(self) -> String {
        match self {
            Self::Plain(content) | Self::Added { content } => content,
        }
    }
}

/// `<|endoftext|>` where the tokenizer has it; else the last token of the post-processor's
/// template, else the `pad_token` of `tokenizer_config.json`.
pub(super) fn find(dir: &Path, path: &Path, tokenizer: &HfTokenizer) -> Result<u32> {
    if let Some(id) = tokenizer.token_to_id(ENDOFTEXT) {
        return Ok(id);
    }
    let declared = match template_end(tokenizer) {
        Some(token) => Some(token),
        None => pad_token(dir)?,
    };
    let Some(token) = declared else {
        let reason = format!(
            "it has no {ENDOFTEXT}, no template that adds a token at the end, and tokenizer_config.json names no pad_token"
        );
        return Err(unusable(path, reason));
    };
    tokenizer.token_to_id(&token).ok_or_else(|| {
        unusable(
            path,
            format!("the end token {token:?} is not in its vocabulary"),
        )
    })
}

/// The special token that the post-processor puts after a single sequence.
fn template_end(tokenizer: &HfTokenizer) -> Option<String> {
    let processor = tokenizer.get_post_processor()?;
    // The template's fields are private; its JSON is its interface.
    let value = serde_json::to_value(processor).ok()?;
    let processors = match processor {
        PostProcessorWrapper::Sequence(_) => value.get("processors")?.as_array()?.clone(),
        _ => vec![value],
    };
    let single = processors
        .iter()
        .find(|p| p.get("type").is_some_and(|t| t == "TemplateProcessing"))?
        .get("single")?;
    let last = single.as_array()?.last()?;
    Some(last.get("SpecialToken")?.get("id")?.as_str()?.to_owned())
}

fn pad_token(dir: &Path) -> Result<Option<String>> {
    let path = dir.join("tokenizer_config.json");
    let Some(text) = json::read_optional(&path, "the tokenizer's configuration")? else {
        return Ok(None);
    };
    let config: TokenizerConfig =
        serde_json::from_str(&text).map_err(|e| json::invalid(&path, json::reason(&e)))?;
    Ok(config.pad_token.map(Token::into_content))
}
