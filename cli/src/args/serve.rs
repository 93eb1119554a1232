//! The arguments of `serve`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ModelArgs;

#[derive(Args)]
#[command(after_help = "\
Once it listens, it writes one line to stdout: {\"listening\":\"http://127.0.0.1:8080\"}. GET /ready
answers 200 as soon as the model is loaded. SIGTERM or SIGINT: requests that have arrived are
answered, then it ends, with code 1 if --drain-timeout cut some off; a second signal ends it at
once.

Example:
  qwen3-embed serve --model Qwen/Qwen3-Embedding-0.6B --port 8080")]
pub(crate) struct ServeArgs {
    /// Address or name to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "HOST")]
    pub(crate) host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub(crate) port: u16,
    /// Answer to this model name too, and answer with it; may be repeated, the first is answered
    #[arg(long = "alias", value_name = "NAME")]
    pub(crate) aliases: Vec<String>,
    /// Ask for a key in requests (Authorization: Bearer KEY): FILE holds the keys, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// How the log is written to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// How much one caller, and all of them together, may take.
#[derive(Args, Clone)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Bytes of a request's body
    #[arg(long, default_value = "16777216", value_name = "N")]
    pub(crate) max_body_bytes: NonZeroU32,
    /// Bytes of the bodies of all requests that are being read or served
    #[arg(long, default_value = "268435456", value_name = "N")]
    pub(crate) max_buffered_bytes: NonZeroUsize,
    /// Inputs of a request
    #[arg(long, default_value = "2048", value_name = "N")]
    pub(crate) max_inputs: NonZeroUsize,
    /// Bytes of a text, also of one that would be cut [default: 16 for each token of the model's
    /// context, at least 65536]
    #[arg(long, value_name = "N")]
    pub(crate) max_text_bytes: Option<NonZeroUsize>,
    /// Tokens of a request, prompts and EOS included
    #[arg(long, default_value = "300000", value_name = "N")]
    pub(crate) max_request_tokens: NonZeroUsize,
    /// Inputs that are accepted and not yet answered; a request beyond them is answered 429
    #[arg(long, default_value = "4096", value_name = "N")]
    pub(crate) max_queued_inputs: NonZeroUsize,
    /// Connections; one more is answered 503, and idle ones are closed to make room
    #[arg(long, default_value = "1024", value_name = "N")]
    pub(crate) max_connections: NonZeroUsize,
    /// Time for a request's head, and for the wait before it on an open connection
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) header_timeout: Duration,
    /// Time for a request's body
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) body_timeout: Duration,
    /// Time in which a client must take some of its answer
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) write_timeout: Duration,
    /// Time for a request, from its head to its vectors
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) request_timeout: Duration,
    /// Time to answer what has arrived after SIGTERM
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For reading
    Text,
    /// One JSON object a line
    Json,
}

/// A time above zero; fractions are allowed.
fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // A day is forever here, and adds to an Instant without overflow.
    duration
        .filter(|time| !time.is_zero() && *time <= Duration::from_hours(24))
        .ok_or_else(|| format!("expected seconds above 0, at most 86400, found {text:?}"))
}
