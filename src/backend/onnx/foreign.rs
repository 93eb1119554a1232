//! An ONNX file made by others, behind the same contract as a checkpoint: batches in, pooled rows
//! out.

mod feed;
mod pool;
mod run;
mod trial;

use super::library::{self, ONNX};
use super::providers::Provider;
use super::threads::Threads;
use super::{Options, failed, memory};
use crate::backend::admission::run_admitted;
use crate::backend::execution_provider::ExecutionProvider;
use crate::backend::{Backend, BackendInfo, HiddenRows, MemoryUse, Work};
use crate::batch::TokenBatch;
use crate::error::Result;
use crate::onnx_file::{OnnxModel, Rows};
use run::Graph;

/// How many sequences run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batching {
    Together,
    /// Each sequence by itself, without padding: the graph takes one, or the others of a batch
    /// change its vector, as where a whole batch is quantised by one scale.
    Alone,
}

/// A foreign graph held by ONNX Runtime.
pub(in crate::backend) struct Foreign {
    info: BackendInfo,
    graph: Option<Graph>, // none only while it is dropped
    batching: Batching,
    size: Size,
    work: Work,
    process: u32,
}

/// What a forward pass is estimated from.
#[derive(Debug, Clone, Copy)]
struct Size {
    hidden: usize,
    heads: usize,
    intermediate: usize,
    weights: usize,
}

impl Foreign {
    /// Loads the file and tries it on a few tokens.
    pub(in crate::backend) fn load(
        info: BackendInfo,
        model: &OnnxModel,
        options: &Options,
    ) -> Result<Self> {
        let library = library::load(options.library.as_deref())?;
        let kind = info.execution_provider.unwrap_or(ExecutionProvider::Cpu);
        let provider = Provider::new(kind, model.precision(), options);
        let mut graph = Graph::load(library, model, &provider, &Threads::of(options)?)?;
        let batching = match model.signature().rows {
            Rows::One => Batching::Alone,
            Rows::Any => trial::batching(&mut graph, model)?,
        };
        let hidden = model.config().hidden_size();
        Ok(Self {
            info: described(info, model, batching),
            graph: Some(graph),
            batching,
            size: Size {
                hidden,
                heads: model.other().heads.unwrap_or(hidden.div_ceil(32)),
                intermediate: model.other().intermediate_size.unwrap_or(4 * hidden),
                weights: usize::try_from(model.weight_bytes()).unwrap_or(usize::MAX),
            },
            work: Work::default(),
            process: std::process::id(),
        })
    }
}

impl Backend for Foreign {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let alive = std::process::id() == self.process;
        let Some(graph) = self.graph.as_mut().filter(|_| alive) else {
            let message = "the process was forked after the model was loaded; load it in the child";
            return Err(failed("forward", message));
        };
        let (size, batching) = (self.size, self.batching);
        let check = |part: &TokenBatch| match batching {
            Batching::Alone if part.rows() > 1 => Err("one sequence at a time".to_owned()),
            _ => size.check(part, memory::available()),
        };
        let work = &mut self.work;
        run_admitted(ONNX, batch, &check, &mut |part| {
            let rows = graph.run(part)?;
            work.ran(part);
            Ok(rows)
        })
    }

    /// The graph's own precision is all there is.
    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.forward(batch)
    }

    fn memory(&self) -> Result<MemoryUse> {
        Ok(MemoryUse {
            active: self.size.weights,
            cached: None,
            peak: None,
        })
    }

    fn work(&self) -> Work {
        self.work
    }
}

impl Size {
    /// Whether what the widest layer holds fits into `free` bytes, where known: residual,
    /// projections and feed-forward of one layer, scores and their softmax, all in f32.
    fn check(self, batch: &TokenBatch, free: Option<usize>) -> Result<(), String> {
        let tokens = batch.rows().saturating_mul(batch.width());
        let layer = 10 * self.hidden.saturating_add(self.intermediate);
        let scores = tokens
            .saturating_mul(self.heads)
            .saturating_mul(batch.width());
        let elements = tokens
            .saturating_mul(layer)
            .saturating_add(scores.saturating_mul(3));
        let bytes = elements.saturating_mul(4);
        match free {
            Some(free) if bytes > free => Err(format!(
                "about {bytes} bytes are needed and {free} are left on this machine"
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Foreign {
    /// In a forked child the session's threads do not exist: ending it would wait for them forever.
    fn drop(&mut self) {
        if std::process::id() != self.process {
            std::mem::forget(self.graph.take());
        }
    }
}

/// What runs is what the file says, whatever was asked for.
fn described(info: BackendInfo, model: &OnnxModel, batching: Batching) -> BackendInfo {
    let name = model.file().file_name().unwrap_or_default();
    let alone = match batching {
        Batching::Together => "",
        Batching::Alone => ", one text at a time",
    };
    let reason = format!(
        "{}; {} holds {} weights{alone}",
        info.reason,
        name.to_string_lossy(),
        model.weight_type()
    );
    BackendInfo {
        precision: model.precision(),
        reason,
        ..info
    }
}
