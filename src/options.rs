//! Options of one embedding call.

use crate::prompt::Prompt;
use crate::tokenizer::{SpecialTokens, Truncation};
use crate::vector::Normalization;

/// How texts become vectors. The default is documents, whole, at full size, normalised.
///
/// ```
/// use qwen3_embedding::{EmbedOptions, Prompt, Truncation};
///
/// let options = EmbedOptions::default()
///     .prompt(Prompt::Query)
///     .dimensions(256)
///     .truncation(Truncation::End);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbedOptions {
    pub(crate) prompt: Prompt,
    pub(crate) dimensions: Option<usize>,
    pub(crate) normalization: Normalization,
    pub(crate) truncation: Truncation,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) special_tokens: SpecialTokens,
}

impl EmbedOptions {
    /// What stands before each text; [`Prompt::Document`] unless set.
    #[must_use]
    pub fn prompt(mut self, prompt: Prompt) -> Self {
        self.prompt = prompt;
        self
    }

    /// Cuts vectors to their first `dimensions` elements, before normalisation (Matryoshka
    /// representation learning); 1 to the model's hidden size.
    #[must_use]
    pub fn dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Whether vectors are scaled to length 1; [`Normalization::L2`] unless set.
    #[must_use]
    pub fn normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// What happens to a text that is too long; [`Truncation::Error`] unless set.
    #[must_use]
    pub fn truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// The most tokens of one text, prompt and EOS included; at most, and by default, the
    /// model's context.
    #[must_use]
    pub fn max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// How special tokens in a text are read; [`SpecialTokens::PlainText`] unless set.
    #[must_use]
    pub fn special_tokens(mut self, special_tokens: SpecialTokens) -> Self {
        self.special_tokens = special_tokens;
        self
    }
}
