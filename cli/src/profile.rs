//! `profile`: where the time of a forward pass goes.

mod mlx;
#[cfg(feature = "onnx")]
mod onnx;
mod op;
mod report;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use qwen3_embedding::{EmbedOptions, Embedder, EmbedderBuilder};
use tempfile::TempDir;
use tracing_chrome::{ChromeLayerBuilder, FlushGuard};
use tracing_subscriber::Layer;

use crate::args::ProfileArgs;
use crate::bench::{Machine, equal_texts, milliseconds};
use crate::commands::write_json;
use crate::failure::Failure;
use crate::messages;
use crate::model::Model;
use crate::output::Output;
use crate::spans::Collector;
use mlx::Ops;
use op::Op;
use report::{Report, Roofline};

/// What the names of ONNX Runtime's profiles begin with.
const PROFILES: &str = "onnxruntime";

/// The path of the request, in the folder of `--out`.
const TRACE: &str = "trace.json";

pub(crate) fn profile(args: &ProfileArgs) -> Result<(), Failure> {
    let folder = Folder::open(args.out.as_deref())?;
    let ops = Ops::default();
    let _trace = start_log(args.out.as_deref(), &ops)?;
    let model = Model::find(&args.model)?;
    let mut plain = model.builder(&args.model).build()?;
    let texts = equal_texts(&plain, args.batch.get(), args.length.get())?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let forward = time(&mut plain, &texts, args.runs.get())?;
    if let Some(file) = &args.gpu_trace {
        plain.capture_gpu_trace(file, &texts, &EmbedOptions::default())?;
    }
    let roofline = Roofline::from(plain.peaks()?);
    let backend = plain.backend().clone();
    drop(plain);

    let builder = profiled(model.builder(&args.model), folder.path());
    let mut embedder = builder.build()?;
    // Once before those that count, as many timed by ONNX Runtime as by us.
    embedder.embed(&texts, &EmbedOptions::default())?;
    ops.listen(true);
    let profiled = passes(&mut embedder, &texts, args.runs.get())?;
    ops.listen(false);
    // ONNX Runtime writes its profiles when its sessions end.
    drop(embedder);
    let ops = match backend.backend {
        "mlx" => ops.take(),
        _ => of_onnx_runtime(folder.path(), args.runs.get())?,
    };
    if ops.is_empty() {
        let message = "no operation was timed, as an accelerator's library may tell of none";
        return Err(Failure::Runtime(message.to_owned()));
    }
    let (kinds, layers, total) = report::rows(&ops, &roofline, args.runs.get());
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::this(),
        model: &model.name,
        backend: (&backend).into(),
        batch: args.batch.get(),
        length: args.length.get(),
        runs: args.runs.get(),
        forward_ms: forward,
        profiled_ms: profiled,
        peaks: roofline,
        ops: kinds,
        layers,
        total,
    };
    Output::stdout().write(|out| match args.json {
        true => write_json(out, &report),
        false => report::write_tables(out, &report),
    })
}

/// Where profiles are written: what `--out` names, or a folder that ends with the run.
enum Folder<'a> {
    Kept(&'a Path),
    Temporary(TempDir),
}

impl<'a> Folder<'a> {
    fn open(out: Option<&'a Path>) -> Result<Self, Failure> {
        let failed = |error| Failure::io("the profile's folder", &error);
        let Some(out) = out else {
            let folder = tempfile::Builder::new().prefix("qwen3-embed-").tempdir();
            return folder.map(Self::Temporary).map_err(failed);
        };
        fs::create_dir_all(out).map_err(|error| Failure::io(out.display(), &error))?;
        // The profiles of an earlier run would be taken for this one's.
        let mut files = fs::read_dir(out).map_err(failed)?;
        let earlier = files.find_map(|file| {
            let name = file.ok()?.file_name().to_string_lossy().into_owned();
            name.starts_with(PROFILES).then_some(name)
        });
        match earlier {
            Some(name) => Err(Failure::Runtime(format!(
                "{} holds {name} of an earlier run; expected a folder without profiles",
                out.display()
            ))),
            None => Ok(Self::Kept(out)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Listens to operations and, if the trace is to be kept, to the path of requests; the trace is
/// whole when the guard is dropped.
fn start_log(out: Option<&Path>, ops: &Ops) -> Result<Option<FlushGuard>, Failure> {
    let ops = ops.clone().with_filter(ops.filter()).boxed();
    let Some(out) = out else {
        messages::start_log_beside(ops)?;
        return Ok(None);
    };
    let path = out.join(TRACE);
    let file = File::create(&path).map_err(|error| Failure::io(path.display(), &error))?;
    let (chrome, guard) = ChromeLayerBuilder::new()
        .writer(file)
        .include_args(true)
        .build();
    let chrome = chrome.with_filter(Collector::filter()).boxed();
    messages::start_log_beside(vec![ops, chrome])?;
    Ok(Some(guard))
}

/// The mean milliseconds of a pass, after one that does not count.
fn time(embedder: &mut Embedder, texts: &[&str], runs: u32) -> Result<f64, Failure> {
    passes(embedder, texts, 1)?;
    passes(embedder, texts, runs)
}

fn passes(embedder: &mut Embedder, texts: &[&str], runs: u32) -> Result<f64, Failure> {
    let one = |_| -> Result<Duration, Failure> {
        let begun = Instant::now();
        embedder.embed(texts, &EmbedOptions::default())?;
        Ok(begun.elapsed())
    };
    let times = (0..runs).map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(milliseconds(times.iter().sum::<Duration>() / runs))
}

#[cfg(feature = "onnx")]
fn profiled(builder: EmbedderBuilder, folder: &Path) -> EmbedderBuilder {
    builder.onnxruntime_profile(folder.join(PROFILES))
}

#[cfg(not(feature = "onnx"))]
fn profiled(builder: EmbedderBuilder, _: &Path) -> EmbedderBuilder {
    builder
}

#[cfg(feature = "onnx")]
fn of_onnx_runtime(folder: &Path, runs: u32) -> Result<Vec<Op>, Failure> {
    onnx::read(folder, runs + 1, runs)
}

#[cfg(not(feature = "onnx"))]
fn of_onnx_runtime(_: &Path, _: u32) -> Result<Vec<Op>, Failure> {
    Ok(Vec::new())
}
