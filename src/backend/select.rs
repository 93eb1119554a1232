//! Which backend and device run: the only file that names the backends.

#[cfg(feature = "mlx")]
use super::mlx::{self, Mlx};
#[cfg(feature = "onnx")]
use super::onnx::{self, Onnx};
use super::{Backend, BackendChoice, BackendInfo, Device, DeviceKind, Precision};
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// What to do where no accelerator can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fallback {
    #[default]
    Allow,
    Forbid,
}

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) backend: BackendChoice,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    pub(crate) fallback: Fallback,
    #[cfg(feature = "onnx")]
    pub(crate) onnx: onnx::Options,
}

/// What would run, without loading a model.
pub(crate) fn probe(request: &Request) -> Result<BackendInfo> {
    let info = match request.backend {
        BackendChoice::Mlx => probe_mlx(request, request.device),
        BackendChoice::Onnx => probe_onnx(request),
        BackendChoice::Auto if !cfg!(any(feature = "mlx", feature = "onnx")) => {
            Err(not_built("any backend"))
        }
        // A build that holds nothing else runs MLX on a CPU, and says so as a fallback.
        BackendChoice::Auto if !cfg!(feature = "onnx") => probe_mlx(request, request.device),
        BackendChoice::Auto => first_usable(
            request.device,
            &|device| probe_mlx(request, device),
            &|| probe_onnx(request),
        ),
    }?;
    match (request.fallback, info.device) {
        (Fallback::Forbid, DeviceKind::Cpu) => Err(unavailable(
            "accelerator",
            info.fallback.unwrap_or(info.reason),
        )),
        _ => Ok(info),
    }
}

/// Loads the checkpoint into the backend that [`probe`] names.
pub(crate) fn open(
    request: &Request,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> Result<Box<dyn Backend>> {
    let info = probe(request)?;
    if let Some(reason) = &info.fallback {
        tracing::warn!(backend = info.backend, device = %info.device, "no accelerator: {reason}");
    }
    match info.backend {
        #[cfg(feature = "mlx")]
        "mlx" => Ok(Box::new(Mlx::load(info, config, checkpoint)?)),
        #[cfg(feature = "onnx")]
        "onnx" => Ok(Box::new(Onnx::load(
            info,
            config,
            checkpoint,
            &request.onnx,
        )?)),
        other => {
            let _ = (config, checkpoint);
            Err(not_built(other))
        }
    }
}

/// MLX on a GPU, else ONNX Runtime: MLX on a CPU is for tests and runs only when it is named.
fn first_usable(
    device: Device,
    mlx: &dyn Fn(Device) -> Result<BackendInfo>,
    onnx: &dyn Fn() -> Result<BackendInfo>,
) -> Result<BackendInfo> {
    let missing = match device {
        Device::Cpu => "MLX: not used on a CPU unless it is named".to_owned(),
        Device::Auto | Device::Gpu => match mlx(Device::Gpu) {
            Ok(info) if device == Device::Gpu => return Ok(info),
            Ok(info) => {
                let reason = "a GPU is available".to_owned();
                return Ok(BackendInfo { reason, ..info });
            }
            Err(error) => error.to_string(),
        },
    };
    match onnx() {
        Ok(info) if device == Device::Auto => Ok(BackendInfo {
            fallback: Some(missing),
            ..info
        }),
        Ok(info) => Ok(info),
        Err(error) => Err(unavailable("any backend", format!("{missing}; {error}"))),
    }
}

#[cfg(feature = "mlx")]
fn probe_mlx(request: &Request, device: Device) -> Result<BackendInfo> {
    mlx::probe(device, request.precision)
}

#[cfg(not(feature = "mlx"))]
fn probe_mlx(_: &Request, _: Device) -> Result<BackendInfo> {
    Err(not_built("MLX"))
}

#[cfg(feature = "onnx")]
fn probe_onnx(request: &Request) -> Result<BackendInfo> {
    onnx::probe(request.device, request.precision, &request.onnx)
}

#[cfg(not(feature = "onnx"))]
fn probe_onnx(_: &Request) -> Result<BackendInfo> {
    Err(not_built("ONNX Runtime"))
}

fn not_built(backend: &str) -> Error {
    unavailable(
        backend,
        "this build does not contain it; see the crate's features".to_owned(),
    )
}

fn unavailable(backend: &str, reason: String) -> Error {
    Error::BackendUnavailable {
        backend: backend.to_owned(),
        reason,
    }
}
