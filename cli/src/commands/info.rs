//! `info`: the model and what would run it.

use std::path::{Path, PathBuf};

use qwen3_embedding::{BackendInfo, Checkpoint, EmbedderBuilder, ModelConfig, OnnxModel, Pooling};
use serde::Serialize;

use super::running::{Number, Running};
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
    /// Null for an ONNX file, as are the sizes of heads: its graph holds them.
    layers: Option<usize>,
    heads: Option<usize>,
    kv_heads: Option<usize>,
    head_dim: Option<usize>,
    vocabulary: usize,
    /// Tokens.
    context: usize,
    pooling: &'static str,
    weight_bytes: u64,
    /// As config.json declares it, or how the matrices are packed; for an ONNX file the type of most of its bytes.
    weight_precision: Option<String>,
    /// Null for a checkpoint.
    onnx_file: Option<PathBuf>,
}

pub(crate) fn info(args: &InfoArgs) -> Result<(), Failure> {
    let model = Model::find(&args.model)?;
    let architecture = architecture(&model, args)?;
    let builder = model.builder(&args.model);
    let backend: BackendInfo = builder.probe()?;
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        model: &model.name,
        directory: model.directory(),
        architecture,
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

fn architecture(model: &Model, args: &InfoArgs) -> Result<Architecture, Failure> {
    let (file, pooling) = (args.model.onnx_file.as_deref(), args.model.pooling);
    if let Some(onnx) = OnnxModel::find(&model.dir, file, pooling)? {
        return Ok(of_onnx(&onnx, &model.dir));
    }
    let config = ModelConfig::from_file(&model.dir.join("config.json"))?;
    let checkpoint = Checkpoint::open(&model.dir, &config)?;
    Ok(of_checkpoint(&config, &checkpoint))
}

fn of_checkpoint(config: &ModelConfig, checkpoint: &Checkpoint) -> Architecture {
    let declared = || config.dtype().map(|dtype| dtype.to_string().to_lowercase());
    Architecture {
        hidden_size: config.hidden_size(),
        layers: Some(config.num_hidden_layers()),
        heads: Some(config.num_attention_heads()),
        kv_heads: Some(config.num_key_value_heads()),
        head_dim: Some(config.head_dim()),
        vocabulary: config.vocab_size(),
        context: config.max_position_embeddings(),
        pooling: Pooling::LastToken.name(),
        weight_bytes: checkpoint.weight_bytes(),
        weight_precision: checkpoint.quantization().or_else(declared),
        onnx_file: None,
    }
}

fn of_onnx(onnx: &OnnxModel, dir: &Path) -> Architecture {
    let config = onnx.config();
    let file = onnx.file().strip_prefix(dir).unwrap_or(onnx.file());
    Architecture {
        hidden_size: config.hidden_size(),
        layers: None,
        heads: None,
        kv_heads: None,
        head_dim: None,
        vocabulary: config.vocab_size(),
        context: config.context(),
        pooling: config.pooling().name(),
        weight_bytes: onnx.weight_bytes(),
        weight_precision: Some(onnx.weight_type().to_owned()),
        onnx_file: Some(file.to_owned()),
    }
}

fn pairs(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let (model, backend) = (&report.architecture, &report.backend);
    let choices = &backend.choices;
    let directory = report.directory.map(|path| path.display().to_string());
    let megabytes = model.weight_bytes as f64 / 1e6;
    let offered = report.execution_providers.as_ref();
    let offered = offered.map(|names| names.join(", "));
    let declared = model.weight_precision.as_deref().unwrap_or("not declared");
    let mut pairs = vec![
        ("program", format!("qwen3-embed {}", report.version)),
        ("model", report.model.to_owned()),
        (
            "directory",
            directory.unwrap_or_else(|| "none, built in".to_owned()),
        ),
    ];
    if let Some(file) = &model.onnx_file {
        pairs.push(("onnx file", file.display().to_string()));
    }
    pairs.push(("hidden size", model.hidden_size.to_string()));
    pairs.extend(layers(model));
    pairs.extend([
        ("vocabulary", model.vocabulary.to_string()),
        ("context", format!("{} tokens", model.context)),
        ("pooling", model.pooling.to_owned()),
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
        (
            "precision",
            format!("{} ({})", backend.precision, choices.precision),
        ),
        ("threads", threads(choices.threads.as_ref())),
        (
            "batch",
            format!(
                "{} tokens ({})",
                choices.batch_tokens.value, choices.batch_tokens.origin
            ),
        ),
        ("reason", backend.reason.to_owned()),
        ("fallback", backend.fallback.unwrap_or("none").to_owned()),
    ]);
    pairs
}

fn threads(number: Option<&Number>) -> String {
    match number {
        Some(Number { value, origin }) => format!("{value} ({origin})"),
        None => "the library's own".to_owned(),
    }
}

/// What an ONNX file does not tell.
fn layers(model: &Architecture) -> Vec<(&'static str, String)> {
    let (Some(layers), Some(heads), Some(kv_heads), Some(head_dim)) =
        (model.layers, model.heads, model.kv_heads, model.head_dim)
    else {
        return Vec::new();
    };
    vec![
        ("layers", layers.to_string()),
        ("heads", format!("{heads}, {kv_heads} for keys and values")),
        ("head size", head_dim.to_string()),
    ]
}
