//! `info`: the model and what would run it.

use std::path::Path;

use qwen3_embedding::{BackendInfo, Checkpoint, EmbedderBuilder, ModelConfig};
use serde::Serialize;

use super::running::Running;
use super::{table, write_json};
use crate::args::{InfoArgs, ReportFormat};
use crate::failure::Failure;
use crate::model::Model;
use crate::output::Output;

/// The output of `--format json`.
#[derive(Serialize)]
struct Report<'a> {
    version: &'a str,
    model: &'a str,
    /// Null for the built-in model.
    directory: Option<&'a Path>,
    architecture: Architecture,
    backend: Running<'a>,
    /// What the ONNX Runtime library offers; null where there is none.
    execution_providers: Option<Vec<&'static str>>,
}

#[derive(Serialize)]
struct Architecture {
    hidden_size: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocabulary: usize,
    /// Tokens.
    context: usize,
    weight_bytes: u64,
    /// As config.json declares it.
    weight_precision: Option<String>,
}

pub(crate) fn info(args: &InfoArgs) -> Result<(), Failure> {
    let model = Model::find(&args.model)?;
    let config = ModelConfig::from_file(&model.dir.join("config.json"))?;
    let checkpoint = Checkpoint::open(&model.dir, &config)?;
    let builder = model.builder(&args.model);
    let backend: BackendInfo = builder.probe()?;
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        model: &model.name,
        directory: model.directory(),
        architecture: architecture(&config, &checkpoint),
        backend: (&backend).into(),
        execution_providers: offered(&builder),
    };
    Output::stdout().write(|out| match args.format {
        ReportFormat::Table => table::pairs(out, &pairs(&report)),
        ReportFormat::Json => write_json(out, &report),
    })
}

/// A library that cannot be loaded is of interest only where it would run, and `probe` says so.
#[cfg(feature = "onnx")]
fn offered(builder: &EmbedderBuilder) -> Option<Vec<&'static str>> {
    let offered = builder.execution_providers().ok()?;
    Some(
        offered
            .into_iter()
            .map(|provider| provider.name())
            .collect(),
    )
}

#[cfg(not(feature = "onnx"))]
fn offered(_: &EmbedderBuilder) -> Option<Vec<&'static str>> {
    None
}

fn architecture(config: &ModelConfig, checkpoint: &Checkpoint) -> Architecture {
    Architecture {
        hidden_size: config.hidden_size(),
        layers: config.num_hidden_layers(),
        heads: config.num_attention_heads(),
        kv_heads: config.num_key_value_heads(),
        head_dim: config.head_dim(),
        vocabulary: config.vocab_size(),
        context: config.max_position_embeddings(),
        weight_bytes: checkpoint.weight_bytes(),
        weight_precision: config.dtype().map(|dtype| dtype.to_string().to_lowercase()),
    }
}

fn pairs(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let (model, backend) = (&report.architecture, &report.backend);
    let directory = report.directory.map(|path| path.display().to_string());
    let megabytes = model.weight_bytes as f64 / 1e6;
    let offered = report.execution_providers.as_ref();
    let offered = offered.map(|names| names.join(", "));
    let declared = model.weight_precision.as_deref().unwrap_or("not declared");
    vec![
        ("program", format!("qwen3-embed {}", report.version)),
        ("model", report.model.to_owned()),
        (
            "directory",
            directory.unwrap_or_else(|| "none, built in".to_owned()),
        ),
        ("hidden size", model.hidden_size.to_string()),
        ("layers", model.layers.to_string()),
        (
            "heads",
            format!("{}, {} for keys and values", model.heads, model.kv_heads),
        ),
        ("head size", model.head_dim.to_string()),
        ("vocabulary", model.vocabulary.to_string()),
        ("context", format!("{} tokens", model.context)),
        ("weights", format!("{megabytes:.1} MB, {declared}")),
        (
            "backend",
            format!("{} {}", backend.name, backend.library_version),
        ),
        ("library", backend.library_path.to_owned()),
        (
            "device",
            match backend.device_name {
                "" => backend.device.to_string(),
                name => format!("{} ({name})", backend.device),
            },
        ),
        (
            "provider",
            backend.execution_provider.unwrap_or("none").to_owned(),
        ),
        ("offered", offered.unwrap_or_else(|| "none".to_owned())),
        ("precision", backend.precision.clone()),
        ("reason", backend.reason.to_owned()),
        ("fallback", backend.fallback.unwrap_or("none").to_owned()),
    ]
}
