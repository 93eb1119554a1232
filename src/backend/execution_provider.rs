//! The parts of ONNX Runtime that compute, and what each is told.

use std::fmt;

use super::DeviceKind;

/// Which part of ONNX Runtime computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExecutionProvider {
    /// The processor; in every build of the library.
    Cpu,
    /// NVIDIA GPUs, through cuBLAS and kernels of ONNX Runtime's own.
    Cuda,
    /// NVIDIA GPUs, through engines that TensorRT compiles, which takes minutes: give it an engine
    /// cache. What TensorRT does not take, CUDA runs.
    TensorRt,
    /// Apple's CoreML.
    CoreMl,
}

impl ExecutionProvider {
    /// Every provider that can be named.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::TensorRt, Self::CoreMl];

    /// Where it computes.
    #[must_use]
    pub fn device(self) -> DeviceKind {
        match self {
            Self::Cpu => DeviceKind::Cpu,
            Self::Cuda | Self::TensorRt | Self::CoreMl => DeviceKind::Gpu,
        }
    }

    /// As options and results spell it: `cpu`, `cuda`, `tensorrt`, `coreml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::CoreMl => "coreml",
        }
    }
}

impl fmt::Display for ExecutionProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
