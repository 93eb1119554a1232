//! Which special tokens stand before and after a text.

use std::path::Path;

use serde::Deserialize;
use tokenizers::{Encoding, Tokenizer as HfTokenizer};

use super::{eos, unusable};
use crate::error::Result;
use crate::json;
use crate::prompt::Instructions;

/// The ids round every text. There is at least one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) before: Vec<u32>,
    pub(super) after: Vec<u32>,
}

/// Stands for the text; no vocabulary has this id.
const TEXT: u32 = u32::MAX;

#[derive(Deserialize, Default)]
struct TokenizerConfig {
    #[serde(default)]
    add_bos_token: Option<bool>,
    #[serde(default)]
    add_eos_token: Option<bool>,
    #[serde(default)]
    bos_token: Option<eos::Token>,
    #[serde(default)]
    eos_token: Option<eos::Token>,
}

impl Frame {
    /// Qwen3-Embedding's one end token; else what the tokenizer's own post-processor adds, and the
    /// tokens that `tokenizer_config.json` asks for beside it, as Gemma's does.
    pub(super) fn find(
        dir: &Path,
        path: &Path,
        tokenizer: &HfTokenizer,
        instructions: Instructions,
    ) -> Result<Self> {
        match instructions {
            Instructions::Qwen3 => Ok(Self {
                before: Vec::new(),
                after: vec![eos::find(dir, path, tokenizer)?],
            }),
            Instructions::Declared => {
                let mut frame = Self::of_post_processor(path, tokenizer)?;
                frame.complete(&dir.join("tokenizer_config.json"), tokenizer)?;
                match frame.after.is_empty() {
                    true => Err(unusable(path, "it puts no token after a text")),
                    false => Ok(frame),
                }
            }
        }
    }

    /// Tokens that are not of the text.
    pub(super) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// What the post-processor makes of a text of one token.
    fn of_post_processor(path: &Path, tokenizer: &HfTokenizer) -> Result<Self> {
        let text = Encoding::new(
            vec![TEXT],
            vec![0],
            vec![String::new()],
            vec![None],
            vec![(0, 0)],
            vec![0],
            vec![1],
            Vec::new(),
            Default::default(),
        );
        let framed = tokenizer.post_process(text, None, true);
        let framed = framed.map_err(|e| unusable(path, e))?;
        if framed.get_type_ids().iter().any(|&id| id != 0) {
            return Err(unusable(
                path,
                "it gives a single text a token type other than 0",
            ));
        }
        let mut parts = framed.get_ids().split(|&id| id == TEXT);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(before), Some(after), None) => Ok(Self {
                before: before.to_vec(),
                after: after.to_vec(),
            }),
            _ => Err(unusable(
                path,
                "it does not put a text into its template once",
            )),
        }
    }

    fn complete(&mut self, path: &Path, tokenizer: &HfTokenizer) -> Result<()> {
        let Some(text) = json::read_optional(path, "the tokenizer's configuration")? else {
            return Ok(());
        };
        let config: TokenizerConfig =
            serde_json::from_str(&text).map_err(|e| json::invalid(path, json::reason(&e)))?;
        let id = |token: Option<eos::Token>| {
            let content = token.map(eos::Token::into_content).unwrap_or_default();
            let id = tokenizer.token_to_id(&content);
            id.ok_or_else(|| unusable(path, format!("token {content:?} is not in the vocabulary")))
        };
        if config.add_bos_token == Some(true) {
            let bos = id(config.bos_token)?;
            if self.before.first() != Some(&bos) {
                self.before.insert(0, bos);
            }
        }
        if config.add_eos_token == Some(true) {
            let eos = id(config.eos_token)?;
            if self.after.last() != Some(&eos) {
                self.after.push(eos);
            }
        }
        Ok(())
    }
}
