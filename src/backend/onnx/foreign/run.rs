//! A session over a foreign graph.

use half::f16;
use ort::session::builder::SessionBuilder;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::DynValue;

use super::{feed, pool};
use crate::backend::HiddenRows;
use crate::backend::onnx::failed;
use crate::backend::onnx::library::Library;
use crate::backend::onnx::providers::Provider;
use crate::backend::onnx::session::{self, Freed};
use crate::backend::onnx::threads::Threads;
use crate::batch::TokenBatch;
use crate::error::Result;
use crate::model::Pooling;
use crate::onnx_file::{Float, OnnxModel, OutputKind, Signature};

/// A loaded graph and what each run of it needs.
pub(super) struct Graph {
    session: Session,
    run_options: RunOptions<HasSelectedOutputs>,
    signature: Signature,
    pad: u32,
    hidden: usize,
    pooling: Pooling,
}

impl Graph {
    pub(super) fn load(
        library: &Library,
        model: &OnnxModel,
        provider: &Provider,
        threads: &Threads,
    ) -> Result<Self> {
        let _span = tracing::debug_span!("build").entered();
        let bytes = model.bytes()?;
        let signature = model.signature().clone();
        let options = || -> ort::Result<_> {
            let run_options = session::run_options(Freed::GivenBack)?;
            let output = OutputSelector::no_default().with(&signature.output.name);
            let options = session::options(library, provider, threads)?;
            Ok((options, run_options.with_outputs(output)))
        };
        let (options, run_options) = options().map_err(|error| failed("load", error))?;
        // Only by its path does the library find what lies beside a file.
        let build = |mut options: SessionBuilder| match model.data_files().is_empty() {
            true => options.commit_from_memory(&bytes),
            false => options.commit_from_file(model.file()),
        };
        let session = provider.session(options, build);
        Ok(Self {
            session: session.map_err(|error| failed("load", error))?,
            run_options,
            signature,
            pad: model.other().pad_token_id,
            hidden: model.config().hidden_size(),
            pooling: model.config().pooling(),
        })
    }

    /// The pooled rows `[rows, hidden]`.
    pub(super) fn run(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        let _span =
            tracing::debug_span!("pass", rows = batch.rows(), width = batch.width()).entered();
        let inputs = feed::values(&self.signature.inputs, batch, self.pad);
        let inputs = inputs.map_err(|error| failed("run", error))?;
        let outputs = self.session.run_with_options(inputs, &self.run_options);
        let mut outputs = outputs.map_err(|error| failed("run", error))?;
        let output = &self.signature.output;
        let Some(value) = outputs.remove(&output.name) else {
            return Err(failed("run", format!("there is no output {}", output.name)));
        };
        let hidden = self.hidden;
        let expected = match output.kind {
            OutputKind::Pooled => vec![batch.rows(), hidden],
            OutputKind::Tokens => vec![batch.rows(), batch.width(), hidden],
        };
        let rows = floats(&value, output.element, &expected)?;
        Ok(HiddenRows {
            data: pool::pool(rows, batch, hidden, self.pooling),
            hidden,
        })
    }
}

/// The elements of an output of the expected shape.
fn floats(value: &DynValue, element: Float, expected: &[usize]) -> Result<Vec<f32>> {
    let failed = |error: ort::Error| failed("run", error);
    let (shape, data) = match element {
        Float::F32 => {
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(failed)?;
            (shape, data.to_vec())
        }
        Float::F16 => {
            let (shape, data) = value.try_extract_tensor::<f16>().map_err(failed)?;
            (shape, data.iter().map(|value| value.to_f32()).collect())
        }
    };
    let sizes = shape.iter().map(|&size| usize::try_from(size).ok());
    match sizes.eq(expected.iter().map(|&size| Some(size))) {
        true => Ok(data),
        false => {
            let message = format!("expected an output of shape {expected:?}, found {shape}");
            Err(super::failed("run", message))
        }
    }
}
