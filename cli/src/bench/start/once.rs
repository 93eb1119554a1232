//! One start, in a process that does nothing else.

use std::path::{Path, PathBuf};
use std::time::Instant;

use qwen3_embedding::{EmbedOptions, Embedder};
use serde::{Deserialize, Serialize};

use crate::args::ModelArgs;
use crate::bench::statistics::milliseconds;
use crate::commands::{Running, write_json};
use crate::failure::Failure;
use crate::output::Output;
use crate::spans::Collector;

/// The library's spans while a model loads, in the order in which they come.
pub(super) const PARTS: [&str; 7] = [
    "map",
    "tokenizer",
    "library",
    "convert",
    "build",
    "tune",
    "identify",
];

/// What the parent is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Once {
    load_ms: f64,
    pub(super) first_ms: f64,
    /// As [`PARTS`].
    pub(super) parts_ms: [f64; PARTS.len()],
    pub(super) read_bytes: Option<u64>,
    /// Read beside those of the model's directory.
    others: Vec<PathBuf>,
    pub(super) backend: String,
    pub(super) precision: String,
}

impl Once {
    /// The process's own time.
    pub(super) fn own_ms(&self) -> f64 {
        self.load_ms + self.first_ms
    }

    /// What of the load lies in no part.
    pub(super) fn other_ms(&self) -> f64 {
        self.load_ms - self.parts_ms.iter().sum::<f64>()
    }

    /// Everything that was read: the files of `dir` and the others.
    pub(super) fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let mut files = self.others.clone();
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                // A hub's cache links to files elsewhere.
                match std::fs::metadata(entry.path()) {
                    Ok(found) if found.is_dir() => dirs.push(entry.path()),
                    Ok(found) if found.is_file() => files.push(entry.path()),
                    _ => {}
                }
            }
        }
        files
    }
}

/// Loads the model in `dir`, makes one vector, and says how long that took.
pub(super) fn once(args: &ModelArgs, dir: &Path, collector: &Collector) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut embedder = args.apply(Embedder::from_dir(dir)).build()?;
    let load = begun.elapsed();
    let spans = collector.take();
    embedder.embed(
        &["Gravity pulls bodies together."],
        &EmbedOptions::default(),
    )?;
    let first = begun.elapsed().saturating_sub(load);
    let backend = embedder.backend();
    let mut others = spans.files.clone();
    others.push(backend.library_path.clone().into());
    let once = Once {
        load_ms: milliseconds(load),
        first_ms: milliseconds(first),
        parts_ms: PARTS.map(|name| milliseconds(spans.of(name).own)),
        read_bytes: read_bytes(),
        others,
        backend: Running::from(backend).to_string(),
        precision: backend.precision.to_string().to_lowercase(),
    };
    Output::stdout().write(|out| write_json(out, &once))
}

/// Bytes that this process had the system read from a disk.
fn read_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "))?;
    line.parse().ok()
}
