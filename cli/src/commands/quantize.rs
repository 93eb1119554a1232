//! `quantize`: a checkpoint in fewer bits, and how far its vectors are from the original's.

use std::path::Path;

use indicatif::ProgressBar;
use qwen3_embedding::{Checkpoint, EmbedOptions, Embedder, Embeddings, ModelConfig};
use serde::Serialize;

use super::{table, write_json};
use crate::args::{QuantizeArgs, ReportFormat};
use crate::failure::Failure;
use crate::input;
use crate::model::Model;
use crate::output::Output;

/// What both models are compared on, one a line.
const TEXTS: &str = include_str!("quantize/texts.txt");

/// The output of `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    directory: &'a Path,
    /// `affine-4bit-g64`; joined by `+` where some matrices stayed as they were.
    packing: String,
    weight_bytes: u64,
    weight_bytes_before: u64,
    cosine: Cosine,
}

/// Between the vectors of the quantised model and those of the model it was made from.
#[derive(Serialize)]
struct Cosine {
    texts: usize,
    least: f64,
    mean: f64,
}

pub(crate) fn quantize(args: &QuantizeArgs) -> Result<(), Failure> {
    let packing = args.packing()?;
    let texts = match &args.input {
        Some(path) => input::read(path)?,
        None => TEXTS.lines().map(str::to_owned).collect(),
    };
    let model = Model::find(&args.model)?;
    // Draws nothing unless stderr is a terminal.
    let bar = ProgressBar::new(0);
    qwen3_embedding::quantize(&model.dir, &args.out, packing, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    // One after the other: both may not fit.
    let before = embed(model.builder(&args.model).build()?, &texts)?;
    let after = args.model.apply(Embedder::from_dir(&args.out)).build()?;
    let cosine = compare(&before, &embed(after, &texts)?);
    let (written, read) = (open(&args.out)?, open(&model.dir)?);
    let report = Report {
        model: &model.name,
        directory: &args.out,
        packing: written.quantization().unwrap_or_default(),
        weight_bytes: written.weight_bytes(),
        weight_bytes_before: read.weight_bytes(),
        cosine,
    };
    Output::stdout().write(|out| match args.format {
        ReportFormat::Table => table::pairs(out, &pairs(&report)),
        ReportFormat::Json => write_json(out, &report),
    })
}

fn open(dir: &Path) -> Result<Checkpoint, Failure> {
    let config = ModelConfig::from_file(&dir.join("config.json"))?;
    Ok(Checkpoint::open(dir, &config)?)
}

fn embed(mut embedder: Embedder, texts: &[String]) -> Result<Embeddings, Failure> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Ok(embedder.embed(&texts, &EmbedOptions::default())?)
}

/// Vectors have length 1.
fn compare(before: &Embeddings, after: &Embeddings) -> Cosine {
    let cosines = before.iter().zip(after.iter()).map(|(before, after)| {
        let products = before.iter().zip(after);
        products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    });
    let cosines: Vec<f64> = cosines.collect();
    Cosine {
        texts: cosines.len(),
        least: cosines.iter().copied().fold(1.0, f64::min),
        mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
    }
}

fn pairs(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let Cosine { texts, least, mean } = &report.cosine;
    vec![
        ("model", report.model.to_owned()),
        ("directory", report.directory.display().to_string()),
        ("packing", report.packing.clone()),
        ("weights", megabytes(report.weight_bytes)),
        ("before", megabytes(report.weight_bytes_before)),
        ("texts", texts.to_string()),
        (
            "cosine",
            format!("{least:.4} at least, {mean:.4} in the mean"),
        ),
    ]
}
