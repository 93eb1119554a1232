//! The arguments of `bench`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ModelArgs;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Cases: each batch size with each length (BATCHxLENGTH: texts of so many tokens, EOS included), then
mixed (texts of 5 to 2000 tokens, most of them short, in one request) and queries (one at a time,
behind the model's query prompt; without --queries, eight of eight tokens). Cases take turns: a
round runs each once, after a round that is not counted.

Columns: the median and the 95th percentile of the time of one request (nearest rank); tokens asked
for and tokens computed, padding included, per second; computed over asked for, below 1 where
computed keys and values were used again; host, the time outside the model's forward pass (tokenise,
plan, normalise); and the most memory, of the process where it runs on the processor (elsewhere than
on Linux since its start), else of the device.

Examples:
  qwen3-embed bench --model DIR --precision int8 --json > before.json
  qwen3-embed bench --model DIR --precision int8 --baseline before.json --chart bench.svg
  qwen3-embed bench qps --model DIR --rate 50
  qwen3-embed bench start --model DIR"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) other: Option<BenchCommand>,
    /// Tokens of each text
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "16,128"
    )]
    pub(crate) lengths: Vec<NonZeroUsize>,
    /// Texts of each request
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        default_value = "1,8"
    )]
    pub(crate) batch: Vec<NonZeroUsize>,
    /// Texts of the mixed case; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) mixed: usize,
    /// Queries to use, one a line, or JSON lines like {"text": "..."}; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// Rounds [default: at least 3, and more, up to 100, for --seconds]
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub(crate) rounds: Option<NonZeroU32>,
    /// Time to fill with rounds
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) seconds: u32,
    /// An earlier output of --json on this machine with this model, to print ratios to
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Also draw throughput and latencies: FILE ends in .svg or .html
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// One JSON object, in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Subcommand)]
pub(crate) enum BenchCommand {
    /// Latency under a steady rate of queries, whatever the answers take
    Qps(QpsArgs),
    /// Time from nothing to the first vector, and its parts
    Start(StartArgs),
}

impl BenchArgs {
    /// The options of what runs, which each subcommand has for itself.
    pub(crate) fn model(&self) -> &ModelArgs {
        match &self.other {
            None => &self.model,
            Some(BenchCommand::Qps(args)) => &args.model,
            Some(BenchCommand::Start(args)) => &args.model,
        }
    }
}

#[derive(Args)]
#[command(after_help = "\
Queries arrive at random times (Poisson, a fixed seed) through the service of `serve`, in this
process. An answer's latency counts from when its query should have arrived, so that a slow answer
also counts against those behind it.

Example:
  qwen3-embed bench qps --model DIR --precision int8 --rate 50 --seconds 30")]
pub(crate) struct QpsArgs {
    /// Queries a second
    #[arg(long, value_name = "N", default_value = "50", value_parser = rate)]
    pub(crate) rate: f64,
    /// For how long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// The 95th percentile to reach, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 25.0)]
    pub(crate) target: f64,
    /// Queries to use in turn, one a line, or JSON lines like {"text": "..."}; - for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: Option<PathBuf>,
    /// One JSON object, in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Args)]
#[command(after_help = "\
Each start is a process of its own. A cold one finds none of the model's files in the system's page
cache: they are dropped from it, where the system allows that, and the bytes that were read from the
disk say whether it was so. A warm one follows another start.

Parts: process (up to main), map (the model's files opened and checked), library (the native one
loaded), convert (weights read, converted, fused), build (the native library's graphs), tune
(threads and batches measured, once a machine), tokenizer (read beside these: what it takes longer
than they), identify (the space's fingerprint), other, and first vector (one short text).

Example:
  qwen3-embed bench start --model DIR --precision int8")]
pub(crate) struct StartArgs {
    /// Starts of each kind
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) rounds: NonZeroU32,
    /// One JSON object, in place of the table
    #[arg(long)]
    pub(crate) json: bool,
    /// Starts once, in this process, with the model in DIR, and tells the parts
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) once: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// Above 0, and such that a second's arrivals can be told apart.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.01..=100_000.0).contains(rate))
        .ok_or_else(|| format!("expected 0.01 to 100000, found {text:?}"))
}
