//! What people read: single lines on stderr, the library's warnings among them.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
#[cfg(feature = "bench")]
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

#[cfg(feature = "serve")]
use crate::args::LogFormat;
use crate::failure::Failure;

pub(crate) const LOG: &str = "QWEN3_EMBED_LOG";

/// Writes `kind: text` to stderr as one line.
pub(crate) fn line(kind: &str, text: &str) {
    let text = text.lines().collect::<Vec<_>>().join(" ");
    // There is nowhere left to report a closed stderr to.
    let _ = writeln!(io::stderr(), "{kind}: {text}");
}

/// Sends the library's events to stderr: warnings, or from the level that the environment names.
pub(crate) fn start_log() -> Result<(), Failure> {
    let level = level(LevelFilter::WARN)?;
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        // It would report a closed stderr on stderr, and panic.
        .log_internal_errors(false);
    listen(log.finish())
}

/// As [`start_log`], while `layer` listens to what it likes.
#[cfg(feature = "bench")]
pub(crate) fn start_log_beside<L>(layer: L) -> Result<(), Failure>
where
    L: Layer<Registry> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .log_internal_errors(false)
        .with_filter(level(LevelFilter::WARN)?);
    listen(tracing_subscriber::registry().with(layer).with(log))
}

/// Sends the server's and the library's events to stderr, with their times: from info, or from
/// the level that the environment names.
#[cfg(feature = "serve")]
pub(crate) fn start_server_log(format: LogFormat) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level(LevelFilter::INFO)?)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => listen(log.finish()),
        LogFormat::Json => listen(log.json().flatten_event(true).finish()),
    }
}

/// Not the subscriber's own `init`, which would also send on what other libraries write to `log`.
fn listen(subscriber: impl Subscriber + Send + Sync) -> Result<(), Failure> {
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::Runtime(format!("starting the log: {error}")))
}

fn level(default: LevelFilter) -> Result<LevelFilter, Failure> {
    match std::env::var(LOG) {
        Ok(name) if !name.is_empty() => name.parse().map_err(|_| {
            let levels = "off, error, warn, info, debug or trace";
            Failure::Runtime(format!("{LOG}: expected {levels}, found {name:?}"))
        }),
        _ => Ok(default),
    }
}
