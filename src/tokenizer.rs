//! Text to token ids: prompt, the special tokens round a text, truncation by policy.

mod eos;
mod file;
mod frame;

use std::borrow::Cow;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use tokenizers::Tokenizer as HfTokenizer;

use crate::batch;
use crate::error::{Error, Result};
use crate::prompt::{Instructions, Prompt, Prompts};
use frame::Frame;

/// What to do with a text that has more tokens than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Truncation {
    /// Refuse it with [`Error::TooManyTokens`].
    #[default]
    Error,
    /// Drop tokens at the end of the text; EOS stays, as do all special tokens round a text.
    End,
}

/// How to read the names of special tokens (`<|im_start|>`, `<|endoftext|>`) in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SpecialTokens {
    /// As the characters they are: a user who types them cannot steer the model.
    #[default]
    PlainText,
    /// As special tokens, the way the reference tokenizer reads them by default.
    Parse,
}

/// How a text becomes tokens.
#[derive(Debug, Clone)]
pub(crate) struct TextRules<'a> {
    pub(crate) prompt: &'a Prompt,
    pub(crate) special_tokens: SpecialTokens,
    pub(crate) truncation: Truncation,
    pub(crate) max_tokens: usize,
}

/// One tokenised text, prompt and EOS included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenizedText {
    pub(crate) ids: Vec<u32>,
    pub(crate) truncated: bool,
}

/// The tokenizer and the prompts of one model directory.
pub(crate) struct Tokenizer {
    plain: HfTokenizer,
    /// Made on first use: it holds the vocabulary a second time.
    parsing: OnceLock<HfTokenizer>,
    frame: Frame,
    /// Special tokens that a plain text must not turn into.
    reserved: HashSet<u32>,
    prompts: Prompts,
    rows: usize,
}

impl Tokenizer {
    /// Loads `tokenizer.json` and the files beside it, for an embedding table of `rows` rows.
    ///
    /// The vocabulary must fit the table. Added tokens need not: tables of the released models
    /// end before the last of them (`<think>`). Those without a row are read as plain text.
    pub(crate) fn from_dir(dir: &Path, rows: usize, instructions: Instructions) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let mut plain = file::load(&path, rows)?;
        plain.set_encode_special_tokens(true);
        let frame = Frame::find(dir, &path, &plain, instructions)?;
        Ok(Self {
            reserved: match instructions {
                // Its BPE cannot make them of text.
                Instructions::Qwen3 => HashSet::new(),
                Instructions::Declared => file::special_tokens(&plain),
            },
            frame,
            prompts: Prompts::from_dir(dir, instructions)?,
            parsing: OnceLock::new(),
            plain,
            rows,
        })
    }

    /// The token that ends every sequence.
    pub(crate) fn eos(&self) -> u32 {
        // A frame has a token after the text.
        self.frame.after.last().copied().unwrap_or_default()
    }

    /// What stands before documents and before queries unless a caller says otherwise, as JSON.
    pub(crate) fn prompts_of_space(&self) -> Result<String> {
        let document = self.prompts.prefix(&Prompt::Document)?;
        let query = self.prompts.prefix(&Prompt::Query)?;
        Ok(serde_json::json!([document, query]).to_string())
    }

    /// The special tokens round every text, as a fingerprint names them.
    pub(crate) fn frame_of_space(&self) -> String {
        match (self.frame.before.as_slice(), self.frame.after.as_slice()) {
            ([], [eos]) => format!("append:{eos}"),
            (before, after) => format!("before:{before:?} after:{after:?}"),
        }
    }

    /// Tokenises the text at position `index` of a request.
    pub(crate) fn encode(
        &self,
        index: usize,
        text: &str,
        rules: &TextRules<'_>,
    ) -> Result<TokenizedText> {
        if rules.max_tokens < self.frame.len() {
            return Err(Error::Option {
                option: "max_tokens",
                expected: format!("at least {}, the special tokens", self.frame.len()),
                found: rules.max_tokens.to_string(),
            });
        }
        let prefix = self.prompts.prefix(rules.prompt)?;
        let input = match prefix.is_empty() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(format!("{prefix}{text}")),
        };
        let tokenizer = self.reading(rules.special_tokens);
        let mut ids = ids(tokenizer, &input).map_err(|reason| Error::Tokenise { index, reason })?;
        if rules.special_tokens == SpecialTokens::PlainText {
            self.check_plain(index, &ids)?;
        }
        let tokens = ids.len() + self.frame.len();
        let truncated = tokens > rules.max_tokens;
        if truncated && rules.truncation == Truncation::Error {
            return Err(Error::TooManyTokens {
                index,
                tokens,
                limit: rules.max_tokens,
            });
        }
        ids.truncate(rules.max_tokens.saturating_sub(self.frame.len()));
        let Frame { before, after } = &self.frame;
        ids.splice(0..0, before.iter().copied());
        ids.extend(after);
        batch::check_ids(index, &ids, self.rows)?;
        Ok(TokenizedText { ids, truncated })
    }

    /// The prompt alone, with the special tokens before it: what its texts begin with, but for the
    /// last tokens where those merge with a text's first characters. Empty without a prompt.
    pub(crate) fn prompt(
        &self,
        prompt: &Prompt,
        special_tokens: SpecialTokens,
    ) -> Result<Vec<u32>> {
        let prefix = self.prompts.prefix(prompt)?;
        if prefix.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids(self.reading(special_tokens), &prefix);
        let ids = ids.map_err(|reason| Error::Tokenise { index: 0, reason })?;
        Ok([self.frame.before.as_slice(), &ids].concat())
    }

    /// SentencePiece's Unigram finds the names of special tokens in its vocabulary, however they
    /// were meant.
    fn check_plain(&self, index: usize, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| self.reserved.contains(id)) {
            None => Ok(()),
            Some(&id) => Err(Error::Tokenise {
                index,
                reason: format!(
                    "this model's tokenizer reads {:?} in it as a special token, also where that \
                     is plain text",
                    self.plain.id_to_token(id).unwrap_or_default()
                ),
            }),
        }
    }

    fn reading(&self, special_tokens: SpecialTokens) -> &HfTokenizer {
        match special_tokens {
            SpecialTokens::PlainText => &self.plain,
            SpecialTokens::Parse => self.parsing.get_or_init(|| {
                let mut parsing = self.plain.clone();
                parsing.set_encode_special_tokens(false);
                parsing
            }),
        }
    }
}

/// The ids of `text`, without those of the post-processor: some files lack the one that adds EOS.
///
/// The tokenizer's regular expressions panic where they give up, as on millions of blanks.
fn ids(tokenizer: &HfTokenizer, text: &str) -> Result<Vec<u32>, String> {
    let encode = AssertUnwindSafe(|| tokenizer.encode_fast(text, false));
    match catch_unwind(encode) {
        Ok(Ok(encoding)) => Ok(encoding.get_ids().to_vec()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(panic) => Err(file::panic_text(&*panic)),
    }
}

fn unusable(path: &Path, reason: impl ToString) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
