//! Execution providers: which the library offers, and whether one really computes.

use std::path::PathBuf;
use std::sync::Arc;

use ort::ep::{CPU, CUDA, CoreML, ExecutionProvider as _, ExecutionProviderDispatch, TensorRT};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Tensor, TensorElementType};

use super::Options;
use super::library::{self, Library};
use super::ops::{Axis, Ops, Stored, outlet};
use super::placement::{Listener, Placement};
use crate::backend::DeviceKind;
use crate::backend::execution_provider::ExecutionProvider;
use crate::dtype::Dtype;

/// The provider of a session and what it is told.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub(super) kind: ExecutionProvider,
    precision: Dtype,
    device_id: i32,
    /// The folder in which TensorRT keeps its engines.
    engine_cache: Option<PathBuf>,
    /// What the names of its sessions' profiles begin with.
    pub(super) profile: Option<PathBuf>,
}

/// The accelerators that are tried where none is named. TensorRT is not: compiling its engines
/// takes minutes. CoreML is not: it leaves parts of the graph to the processor.
pub(super) const TRIED: [ExecutionProvider; 1] = [ExecutionProvider::Cuda];

/// Those of the loaded library, whether or not their own libraries and devices are there.
pub(super) fn offered() -> ort::Result<Vec<ExecutionProvider>> {
    let mut offered = Vec::new();
    for kind in ExecutionProvider::ALL {
        let is_there = match kind {
            ExecutionProvider::Cpu => CPU::is_available(),
            ExecutionProvider::Cuda => CUDA::is_available(),
            ExecutionProvider::TensorRt => TensorRT::is_available(),
            ExecutionProvider::CoreMl => CoreML::is_available(),
        }?;
        if is_there {
            offered.push(kind);
        }
    }
    Ok(offered)
}

impl Provider {
    pub(super) fn new(kind: ExecutionProvider, precision: Dtype, options: &Options) -> Self {
        Self {
            kind,
            precision,
            device_id: options.device_id.into(),
            engine_cache: options.engine_cache.clone(),
            profile: options.profile.clone(),
        }
    }

    /// The element type that matrices are stored in. TensorRT narrows them itself, where it may.
    pub(super) fn weights(&self) -> Dtype {
        match self.kind {
            ExecutionProvider::Cpu => self.precision,
            _ => Dtype::F32,
        }
    }

    /// Puts the provider into a session's options; what it cannot compute goes to those after it.
    ///
    /// # Errors
    /// Where the library was built without it, or its own libraries do not load.
    pub(super) fn register(&self, session: SessionBuilder) -> ort::Result<SessionBuilder> {
        Ok(session.with_execution_providers(self.dispatches())?)
    }

    fn dispatches(&self) -> Vec<ExecutionProviderDispatch> {
        let cpu = CPU::default().with_arena_allocator(true).build();
        let mut all = match self.kind {
            ExecutionProvider::Cpu => vec![],
            ExecutionProvider::Cuda => vec![self.cuda()],
            ExecutionProvider::TensorRt => vec![self.tensorrt(), self.cuda()],
            ExecutionProvider::CoreMl => vec![CoreML::default().build()],
        };
        all.push(cpu);
        let all = all.into_iter();
        all.map(ExecutionProviderDispatch::error_on_failure)
            .collect()
    }

    fn cuda(&self) -> ExecutionProviderDispatch {
        // TF32 keeps ten bits of a fraction, which is not f32.
        let cuda = CUDA::default().with_tf32(false);
        cuda.with_device_id(self.device_id).build()
    }

    fn tensorrt(&self) -> ExecutionProviderDispatch {
        let half = self.precision == Dtype::F16;
        let mut tensorrt = TensorRT::default()
            .with_device_id(self.device_id)
            .with_fp16(half)
            // Sums of squares pass the largest f16 in models that otherwise fit it.
            .with_layer_norm_fp32_fallback(half);
        if let Some(folder) = &self.engine_cache {
            let folder = folder.display().to_string();
            tensorrt = tensorrt
                .with_engine_cache(true)
                .with_engine_cache_path(&folder)
                .with_timing_cache(true)
                .with_timing_cache_path(&folder);
        }
        tensorrt.build()
    }

    /// Makes a session by `build`, and makes sure that the provider runs it.
    ///
    /// # Errors
    /// Where the library refuses, or leaves a part of the model to the processor.
    pub(super) fn session(
        &self,
        options: SessionBuilder,
        build: impl FnOnce(SessionBuilder) -> ort::Result<Session>,
    ) -> Result<Session, String> {
        let text = |error: ort::Error| error.to_string().trim().to_owned();
        if self.kind.device() == DeviceKind::Cpu {
            return build(options).map_err(text);
        }
        let (session, placement) = listened(options, build).map_err(text)?;
        placement.check(self.library_name())?;
        Ok(session)
    }

    /// Whether the provider computes here: a session of one matrix product is made with it.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn probe(&self, library: &Library) -> Result<(), String> {
        let text = |error: ort::Error| error.to_string().trim().to_owned();
        let options = Session::builder(&library.environment)
            .and_then(|options| self.register(options))
            .map_err(text)?;
        let product = one_product().map_err(text)?;
        self.session(options, |options| product.into_session(&options))?;
        Ok(())
    }

    /// As the library calls it.
    fn library_name(&self) -> &'static str {
        match self.kind {
            ExecutionProvider::Cpu => CPU::NAME,
            ExecutionProvider::Cuda => CUDA::NAME,
            ExecutionProvider::TensorRt => TensorRT::NAME,
            ExecutionProvider::CoreMl => CoreML::NAME,
        }
    }
}

/// A session and where its nodes run.
fn listened(
    options: SessionBuilder,
    build: impl FnOnce(SessionBuilder) -> ort::Result<Session>,
) -> ort::Result<(Session, Placement)> {
    let listener = Listener::default();
    let options = options
        .with_logger(listener.logger(Arc::new(library::log)))?
        .with_log_level(LogLevel::Verbose)?;
    let session = build(options)?;
    Ok((session, listener.placement()))
}

/// `(T, 16) @ (16, 16)`.
fn one_product() -> ort::Result<ort::editor::Model> {
    const WIDTH: usize = 16;
    let mut ops = Ops::new()?;
    let weight = Tensor::<f32>::new(&ort::memory::Allocator::default(), [WIDTH, WIDTH])?;
    let weight = ops.weight("weight", Stored::Initializer(weight.upcast()))?;
    let shape = [Axis::Any, Axis::Of(WIDTH as i64)];
    let product = ops.linear_of_columns("x", &weight)?;
    let outlet = |name: &str| outlet(name, TensorElementType::Float32, &shape);
    Ok(ops.finish(vec![outlet("x")], vec![outlet(&product)])?.model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_tells_where_nodes_run() {
        let library = library::load(None).unwrap();
        let options = Session::builder(&library.environment).unwrap();
        let product = one_product().unwrap();
        let (_, placement) = listened(options, |options| product.into_session(&options)).unwrap();
        assert_eq!(placement.nodes_on(CPU::NAME), 1, "{placement:?}");
        assert_eq!(
            placement.check(CUDA::NAME),
            Err("it takes no part of the model".to_owned())
        );
    }
}
