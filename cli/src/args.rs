//! The command line: what can be asked for.

#[cfg(feature = "bench")]
mod bench;
mod choice;
mod embed;
mod memory;
mod model;
#[cfg(feature = "bench")]
mod profile;
#[cfg(feature = "mlx")]
mod quantize;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "onnx")]
mod threads;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "bench")]
pub(crate) use bench::{BenchArgs, BenchCommand, QpsArgs, StartArgs};
pub(crate) use embed::{EmbedArgs, EmbedFormat};
pub(crate) use model::ModelArgs;
#[cfg(feature = "bench")]
pub(crate) use profile::ProfileArgs;
#[cfg(feature = "mlx")]
pub(crate) use quantize::QuantizeArgs;
#[cfg(feature = "serve")]
pub(crate) use serve::{Limits, LogFormat, ServeArgs};

/// Qwen3-Embedding vectors on the command line.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  qwen3-embed embed --model Qwen/Qwen3-Embedding-0.6B 'Gravity pulls bodies together.'
  qwen3-embed embed --model ./Qwen3-Embedding-0.6B --input lines.txt --format npy --output lines.npy
  qwen3-embed similarity --query 'capital of China' 'Beijing is the capital.' 'Gravity pulls.'
  qwen3-embed info --model Qwen/Qwen3-Embedding-0.6B
  qwen3-embed serve --model Qwen/Qwen3-Embedding-0.6B --port 8080

Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to stdout, all else to stderr.
QWEN3_EMBED_LOG sets what is logged: off, error, warn (default), info, debug, trace.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Turn texts or token ids into vectors
    Embed(EmbedArgs),
    /// Rank documents by their similarity to a query
    Similarity(SimilarityArgs),
    /// Show the model and what would run it, without loading the weights
    Info(InfoArgs),
    /// Write a checkpoint with weights of fewer bits, in the format of MLX's own tools
    #[cfg(feature = "mlx")]
    Quantize(QuantizeArgs),
    /// Answer HTTP requests: the embedding APIs of OpenAI, text-embeddings-inference and AkiDB
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Measure latency, throughput, memory and starts on this machine
    #[cfg(feature = "bench")]
    Bench(BenchArgs),
    /// Show where the time of a forward pass goes, by operation and layer
    #[cfg(feature = "bench")]
    Profile(ProfileArgs),
}

impl Command {
    /// The options that every command has.
    pub(crate) fn model(&self) -> &ModelArgs {
        match self {
            Self::Embed(args) => &args.model,
            Self::Similarity(args) => &args.model,
            Self::Info(args) => &args.model,
            #[cfg(feature = "mlx")]
            Self::Quantize(args) => &args.model,
            #[cfg(feature = "serve")]
            Self::Serve(args) => &args.model,
            #[cfg(feature = "bench")]
            Self::Bench(args) => args.model(),
            #[cfg(feature = "bench")]
            Self::Profile(args) => &args.model,
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Example:
  qwen3-embed similarity --query 'capital of China' 'Beijing is the capital.' 'Gravity pulls.'")]
pub(crate) struct SimilarityArgs {
    /// The query; it gets the model's query prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) query: String,
    /// The documents; they are taken as they are
    #[arg(required = true, value_name = "DOC")]
    pub(crate) documents: Vec<String>,
    /// Describe the task of the query, in place of the model's own prompt
    #[arg(long, value_name = "TASK")]
    pub(crate) instruct: Option<String>,
    /// Cut vectors to their first N elements
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    /// Layout of the output
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Args)]
#[command(after_help = "\
Checks the configuration and the layout of the weights. Tokenizer and pooling are checked only when
a model is loaded, by embed and similarity.

Example:
  qwen3-embed info --model Qwen/Qwen3-Embedding-0.6B --format json")]
pub(crate) struct InfoArgs {
    /// Layout of the output
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// For reading or for a program.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Table,
    Json,
}
