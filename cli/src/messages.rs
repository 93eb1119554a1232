//! What people read: single lines on stderr, the library's warnings among them.

use std::io::{self, Write};

use tracing_subscriber::filter::LevelFilter;

use crate::failure::Failure;

const LOG: &str = "QWEN3_EMBED_LOG";

/// Writes `kind: text` to stderr as one line.
pub(crate) fn line(kind: &str, text: &str) {
    let text = text.lines().collect::<Vec<_>>().join(" ");
    // There is nowhere left to report a closed stderr to.
    let _ = writeln!(io::stderr(), "{kind}: {text}");
}

/// Sends the library's events to stderr: warnings, or from the level that the environment names.
pub(crate) fn start_log() -> Result<(), Failure> {
    let level = match std::env::var(LOG) {
        Ok(name) if !name.is_empty() => name.parse().map_err(|_| {
            let levels = "off, error, warn, info, debug or trace";
            Failure::Runtime(format!("{LOG}: expected {levels}, found {name:?}"))
        })?,
        _ => LevelFilter::WARN,
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_target(false)
        .without_time()
        // It would report a closed stderr on stderr, and panic.
        .log_internal_errors(false)
        .init();
    Ok(())
}
