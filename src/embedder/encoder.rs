//! The half of an embedder that any thread may use: texts and options to checked token ids.

use crate::batch;
use crate::error::{Error, Result};
use crate::fingerprint::Space;
use crate::model::EmbeddingConfig;
use crate::options::EmbedOptions;
use crate::tokenizer::{TextRules, Tokenizer};
use crate::vector;

/// One model's name, limits and tokenizer.
pub(crate) struct Encoder {
    pub(super) model: String,
    pub(super) config: EmbeddingConfig,
    pub(super) tokenizer: Tokenizer,
    pub(super) query_prompt: Vec<u32>,
    pub(super) max_tokens: usize,
    pub(super) space: Space,
}

/// Tokenised texts of one request, in order.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    pub(crate) ids: Vec<Vec<u32>>,
    pub(crate) truncated: Vec<bool>,
    /// How many tokens at the beginning of each are the prompt's.
    pub(crate) prefixes: Vec<usize>,
}

impl Encoder {
    /// The model's id, or the name of its directory.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// The most tokens of one input.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The token that ends every input.
    pub(crate) fn eos_token_id(&self) -> u32 {
        self.tokenizer.eos()
    }

    /// The space of vectors that are not cut.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Elements of a vector under `options`.
    pub(crate) fn dimensions(&self, options: &EmbedOptions) -> Result<usize> {
        vector::dimensions(options.dimensions, self.config.hidden_size())
    }

    /// Tokenises texts: prompt, text, one EOS.
    pub(crate) fn encode<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &EmbedOptions,
    ) -> Result<Sequences> {
        let _span = tracing::debug_span!("tokenise", texts = texts.len()).entered();
        let rules = TextRules {
            prompt: &options.prompt,
            special_tokens: options.special_tokens,
            truncation: options.truncation,
            max_tokens: self.limit(options)?,
        };
        let mut sequences = Sequences::default();
        let prompt = self
            .tokenizer
            .prompt(&options.prompt, options.special_tokens)?;
        for (index, text) in texts.iter().enumerate() {
            let tokenized = self.tokenizer.encode(index, text.as_ref(), &rules)?;
            let prefix = common_prefix(&tokenized.ids, &prompt);
            sequences.prefixes.push(prefix);
            sequences.ids.push(tokenized.ids);
            sequences.truncated.push(tokenized.truncated);
        }
        Ok(sequences)
    }

    /// How many of the first tokens of ids that are to be run as they are belong to the model's
    /// query prompt: all of them, or but for the last, which a text's first characters may join; else
    /// none.
    pub(crate) fn query_prefix(&self, ids: &[u32]) -> usize {
        match common_prefix(ids, &self.query_prompt) {
            common if common + 1 >= self.query_prompt.len() => common,
            _ => 0,
        }
    }

    /// Checks token ids that are to be run as they are.
    pub(crate) fn check<S: AsRef<[u32]>>(
        &self,
        sequences: &[S],
        options: &EmbedOptions,
    ) -> Result<()> {
        let limit = self.limit(options)?;
        for (index, sequence) in sequences.iter().enumerate() {
            let sequence = sequence.as_ref();
            batch::check_ids(index, sequence, self.config.vocab_size())?;
            if sequence.len() > limit {
                return Err(Error::TooManyTokens {
                    index,
                    tokens: sequence.len(),
                    limit,
                });
            }
        }
        Ok(())
    }

    fn limit(&self, options: &EmbedOptions) -> Result<usize> {
        let limit = self.max_tokens();
        match options.max_tokens {
            None => Ok(limit),
            Some(n) if (1..=limit).contains(&n) => Ok(n),
            Some(n) => Err(Error::Option {
                option: "max_tokens",
                expected: format!("1..={limit}"),
                found: n.to_string(),
            }),
        }
    }
}

/// How many tokens a sequence has in common with a prompt, and can do without: at least one is left.
fn common_prefix(sequence: &[u32], prompt: &[u32]) -> usize {
    let but_one = sequence.len().saturating_sub(1);
    let pairs = sequence[..but_one].iter().zip(prompt);
    pairs.take_while(|(a, b)| a == b).count()
}
