//! The arguments of `embed`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, ValueEnum};
use qwen3_embedding::{EmbedOptions, Normalization, Prompt, SpecialTokens, Truncation};

use super::ModelArgs;
use super::choice::one_of;

const TRUNCATIONS: &[(&str, Truncation)] =
    &[("error", Truncation::Error), ("end", Truncation::End)];

#[derive(Args)]
#[command(
    group = ArgGroup::new("source").args(["texts", "input", "token_ids"]).required(true),
    group = ArgGroup::new("role").args(["query", "instruct", "prompt"]),
    after_help = "\
Examples:
  qwen3-embed embed --model Qwen/Qwen3-Embedding-0.6B 'Gravity pulls bodies together.'
  qwen3-embed embed --query --dimensions 256 'What is the capital of China?'
  qwen3-embed embed --input lines.txt --format npy --output lines.npy
  cat rows.jsonl | qwen3-embed embed --input - --format jsonl"
)]
pub(crate) struct EmbedArgs {
    /// Texts to embed
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
    /// Read texts from FILE, or stdin for -: one a line, or JSON lines like {"text": "..."}
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Embed token ids as they are, with no prompt and no EOS added; may be repeated
    #[arg(
        long,
        value_name = "ID,ID,...",
        conflicts_with_all = ["query", "instruct", "prompt", "truncate", "parse_special_tokens"]
    )]
    pub(crate) token_ids: Vec<TokenIds>,

    /// The texts are queries: put the model's query prompt before each
    #[arg(long)]
    query: bool,
    /// The texts are queries for this task: put an instruction that names it before each
    #[arg(long, value_name = "TASK")]
    instruct: Option<String>,
    /// Put the prompt that the model declares under this name before each text
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,

    /// Cut vectors to their first N elements
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// Leave vectors as the model gives them, in place of length 1
    #[arg(long)]
    no_normalize: bool,
    /// What to do with a text of too many tokens: fail, or cut its end
    #[arg(long, value_parser = one_of(TRUNCATIONS), default_value = "error", value_name = "HOW")]
    truncate: Truncation,
    /// Most tokens of one text, prompt and EOS included [default: the model's context]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Read names such as <|endoftext|> in a text as special tokens, not as plain text
    #[arg(long)]
    parse_special_tokens: bool,

    /// One object; one object a line for each input; or a NumPy float32 matrix
    #[arg(long, value_enum, default_value_t = EmbedFormat::Json)]
    pub(crate) format: EmbedFormat,
    /// Write to FILE, whole or not at all; to stdout for - [default: -]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// How vectors are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmbedFormat {
    Json,
    Jsonl,
    Npy,
}

/// One `--token-ids`.
#[derive(Debug, Clone)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

impl FromStr for TokenIds {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let id = |text: &str| match text.trim().parse() {
            Ok(id) => Ok(id),
            Err(_) => Err(format!(
                "expected numbers such as 9707,1879, found {text:?}"
            )),
        };
        list.split(',').map(id).collect::<Result<_, _>>().map(Self)
    }
}

impl EmbedArgs {
    /// The library's options.
    pub(crate) fn options(&self) -> EmbedOptions {
        let mut options = EmbedOptions::default()
            .prompt(self.role())
            .truncation(self.truncate);
        if let Some(dimensions) = self.dimensions {
            options = options.dimensions(dimensions);
        }
        if let Some(max_tokens) = self.max_tokens {
            options = options.max_tokens(max_tokens);
        }
        if self.no_normalize {
            options = options.normalization(Normalization::None);
        }
        if self.parse_special_tokens {
            options = options.special_tokens(SpecialTokens::Parse);
        }
        options
    }

    fn role(&self) -> Prompt {
        match (&self.instruct, &self.prompt) {
            (Some(task), _) => Prompt::Task(task.clone()),
            (None, Some(name)) => Prompt::Named(name.clone()),
            (None, None) if self.query => Prompt::Query,
            (None, None) => Prompt::Document,
        }
    }
}
