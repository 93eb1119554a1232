//! A session of ONNX Runtime over the Qwen3 graph: batches in, rows out.

use ort::editor::Model;
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, SessionInputValue};
use ort::value::{Tensor, TensorRef};

use super::failed;
use super::graph::{COSINES, INPUT_IDS, LAST_TOKENS, POSITION_IDS, SINES};
use super::library::Library;
use super::providers::Provider;
use super::rope::Rope;
use crate::batch::TokenBatch;
use crate::error::Result;

/// A loaded graph and what each run of it needs.
pub(super) struct Session {
    session: ort::session::Session,
    run_options: RunOptions,
}

impl Session {
    pub(super) fn new(
        library: &Library,
        model: Model,
        provider: &Provider,
        threads: usize,
    ) -> Result<Self> {
        let options = || -> ort::Result<_> {
            Ok((self::options(library, provider, threads)?, run_options()?))
        };
        let (options, run_options) = options().map_err(|error| failed("load", error))?;
        let session = provider.session(options, |options| model.into_session(&options));
        Ok(Self {
            session: session.map_err(|error| failed("load", error))?,
            run_options,
        })
    }

    /// The last tokens' rows, `[rows, hidden]`.
    pub(super) fn run(
        &mut self,
        batch: &TokenBatch,
        rope: &mut Rope,
        hidden: usize,
    ) -> Result<Vec<f32>> {
        let failed = |error: ort::Error| failed("run", error);
        let inputs = inputs(batch, rope).map_err(failed)?;
        let session = &mut self.session;
        let outputs = session
            .run_with_options(inputs, &self.run_options)
            .map_err(failed)?;
        let (shape, data) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        let expected = [batch.rows() as i64, hidden as i64];
        if **shape != expected {
            let message = format!("expected an output of shape {expected:?}, found {shape}");
            return Err(super::failed("run", message));
        }
        Ok(data.to_vec())
    }
}

/// Of every run, whatever the graph.
pub(super) fn run_options() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    // The arena never gives memory back by itself.
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    // A session on an accelerator is made with a finer log than its runs need.
    options.set_log_level(LogLevel::Warning)?;
    Ok(options)
}

/// Of every session, whatever its graph.
pub(super) fn options(
    library: &Library,
    provider: &Provider,
    threads: usize,
) -> ort::Result<SessionBuilder> {
    let options = ort::session::Session::builder(&library.environment)?;
    Ok(provider
        .register(options)?
        // `ort` would let ONNX Runtime look for an NPU.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Spinning threads would take the cores from whoever else needs them.
        .with_intra_op_spinning(false)?)
}

fn inputs<'a>(
    batch: &TokenBatch,
    rope: &'a mut Rope,
) -> ort::Result<Vec<(&'static str, SessionInputValue<'a>)>> {
    let (rows, width) = (batch.rows(), batch.width());
    let ids: Vec<i64> = batch.ids().iter().map(|&id| i64::from(id)).collect();
    let positions: Vec<i64> = (0..rows).flat_map(|_| 0..width as i64).collect();
    let last: Vec<i64> = batch.last_tokens().map(|token| token as i64).collect();
    let positions = Tensor::from_array(([rows, width], positions))?;
    let angles = [width, rope.width()];
    let [cosines, sines] = rope.tables(width);
    let cosines = TensorRef::from_array_view((angles, cosines))?;
    let sines = TensorRef::from_array_view((angles, sines))?;
    Ok(vec![
        (INPUT_IDS, Tensor::from_array(([rows * width], ids))?.into()),
        (POSITION_IDS, positions.into()),
        (LAST_TOKENS, Tensor::from_array(([rows], last))?.into()),
        (COSINES, cosines.into()),
        (SINES, sines.into()),
    ])
}
