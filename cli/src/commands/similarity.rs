//! `similarity`: documents ranked by their cosine to a query.

use qwen3_embedding::{EmbedOptions, Error, Prompt};
use serde::Serialize;

use super::{table, write_json};
use crate::args::{ReportFormat, SimilarityArgs};
use crate::failure::Failure;
use crate::model::Model;
use crate::output::Output;

/// The output of `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    query: &'a str,
    /// Best first.
    results: Vec<Scored<'a>>,
}

#[derive(Serialize)]
pub(super) struct Scored<'a> {
    /// Position on the command line.
    pub(super) index: usize,
    /// Cosine, -1 to 1.
    pub(super) score: f32,
    pub(super) text: &'a str,
}

pub(crate) fn similarity(args: &SimilarityArgs) -> Result<(), Failure> {
    let results = ranked(args)?;
    Output::stdout().write(|out| match args.format {
        ReportFormat::Table => table::ranking(out, &results),
        ReportFormat::Json => {
            let query = &args.query;
            write_json(out, &Report { query, results })
        }
    })
}

fn ranked(args: &SimilarityArgs) -> Result<Vec<Scored<'_>>, Failure> {
    let model = Model::find(&args.model)?;
    let mut embedder = model.builder(&args.model).build()?;
    let options = match args.dimensions {
        Some(dimensions) => EmbedOptions::default().dimensions(dimensions),
        None => EmbedOptions::default(),
    };
    let role = match &args.instruct {
        Some(task) => Prompt::Task(task.clone()),
        None => Prompt::Query,
    };
    let query = embedder
        .embed(&[&args.query], &options.clone().prompt(role))
        .map_err(|error| of("query", error))?;
    let texts: Vec<_> = args.documents.iter().map(String::as_str).collect();
    let documents = embedder
        .embed(&texts, &options)
        .map_err(|error| of("documents", error))?;
    let scored = documents.iter().zip(&texts).enumerate();
    let mut results: Vec<_> = scored
        .map(|(index, (document, text))| Scored {
            index,
            score: dot(query.data(), document),
            text,
        })
        .collect();
    // Stable, so that equals stay in the order of the command line.
    results.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(results)
}

/// Says which of the two calls an error about one input comes from.
fn of(inputs: &str, error: Error) -> Failure {
    match error {
        Error::TooManyTokens { .. } | Error::Tokenise { .. } | Error::NotFinite { .. } => {
            Failure::Runtime(format!("{inputs}: {error}"))
        }
        error => error.into(),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum::<f64>() as f32
}
