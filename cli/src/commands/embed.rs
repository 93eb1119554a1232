//! `embed`: texts or token ids to vectors.

use std::io::{self, Write};

use qwen3_embedding::{Embedder, Embeddings, Normalization};
use serde::Serialize;

use super::running::Running;
use super::write_json;
use crate::args::{EmbedArgs, EmbedFormat};
use crate::failure::Failure;
use crate::model::Model;
use crate::output::Output;
use crate::{input, npy};

/// The output of `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    dimensions: usize,
    normalized: bool,
    backend: Running<'a>,
    embeddings: Vec<&'a [f32]>,
    tokens: &'a [usize],
    truncated: &'a [bool],
}

/// One line of `--format jsonl`.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    embedding: &'a [f32],
    tokens: usize,
    truncated: bool,
}

pub(crate) fn embed(args: &EmbedArgs) -> Result<(), Failure> {
    let output = match &args.output {
        Some(path) => Output::at(path)?,
        None => Output::stdout(),
    };
    if args.format == EmbedFormat::Npy && output.is_terminal() {
        let reason = "npy is binary and is not written to a terminal; use --output or redirect";
        return Err(Failure::Runtime(reason.to_owned()));
    }
    let lines = match &args.input {
        Some(path) => input::read(path)?,
        None => Vec::new(),
    };
    let model = Model::find(&args.model)?;
    let mut embedder = model.builder(&args.model).build()?;
    let embeddings = run(&mut embedder, args, &lines)?;
    output.write(|out| match args.format {
        EmbedFormat::Json => write_json(out, &report(&model, &embedder, &embeddings)),
        EmbedFormat::Jsonl => write_lines(out, &embeddings),
        EmbedFormat::Npy => {
            let shape = [embeddings.rows(), embeddings.dimensions()];
            npy::write(out, embeddings.data(), shape)
        }
    })
}

/// Embeds the one source that was given.
fn run(embedder: &mut Embedder, args: &EmbedArgs, lines: &[String]) -> Result<Embeddings, Failure> {
    let options = args.options();
    if !args.token_ids.is_empty() {
        let sequences: Vec<_> = args.token_ids.iter().map(|ids| ids.0.as_slice()).collect();
        return Ok(embedder.embed_token_ids(&sequences, &options)?);
    }
    let texts: Vec<_> = args.texts.iter().chain(lines).map(String::as_str).collect();
    Ok(embedder.embed(&texts, &options)?)
}

fn report<'a>(model: &'a Model, embedder: &'a Embedder, embeddings: &'a Embeddings) -> Report<'a> {
    Report {
        model: &model.name,
        dimensions: embeddings.dimensions(),
        normalized: embeddings.normalization() == Normalization::L2,
        backend: embedder.backend().into(),
        embeddings: embeddings.iter().collect(),
        tokens: embeddings.tokens(),
        truncated: embeddings.truncated(),
    }
}

fn write_lines(out: &mut dyn Write, embeddings: &Embeddings) -> io::Result<()> {
    let counts = embeddings.tokens().iter().zip(embeddings.truncated());
    for ((index, embedding), (&tokens, &truncated)) in embeddings.iter().enumerate().zip(counts) {
        let line = Line {
            index,
            embedding,
            tokens,
            truncated,
        };
        write_json(out, &line)?;
    }
    Ok(())
}
