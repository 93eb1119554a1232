//! Which backend and device run: the only module that names the backends.

mod request;

#[cfg(feature = "onnx")]
use super::execution_provider::ExecutionProvider;
#[cfg(feature = "mlx")]
use super::mlx::{self, Mlx};
#[cfg(feature = "onnx")]
use super::onnx::{self, Foreign, Onnx};
#[cfg(any(feature = "mlx", feature = "onnx"))]
use super::tuning::Tuner;
use super::tuning::{Choice, Choices};
use super::{Backend, BackendChoice, BackendInfo, Device, DeviceKind, Precision};
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::onnx_file::OnnxModel;

#[cfg(feature = "mlx")]
pub(crate) use mlx::pack;
pub(crate) use request::{Fallback, PrefixBytes, Request};

/// What would run, without loading a model.
pub(crate) fn probe(request: &Request) -> Result<BackendInfo> {
    let info = match implied_backend(request)? {
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
        _ => Ok(with_batch_tokens(info, request.batch_tokens)),
    }
}

/// As [`probe`], with what an earlier start of this model found on this machine.
pub(crate) fn recall(request: &Request, config: &ModelConfig) -> Result<BackendInfo> {
    let info = probe(request)?;
    #[cfg(any(feature = "mlx", feature = "onnx"))]
    return Ok(BackendInfo {
        choices: tuner(request, &info, config).recall(info.choices),
        ..info
    });
    #[cfg(not(any(feature = "mlx", feature = "onnx")))]
    {
        let _ = (&request.tuning, config);
        Ok(info)
    }
}

fn with_batch_tokens(info: BackendInfo, asked: Option<usize>) -> BackendInfo {
    let default = info.choices.batch_tokens.value;
    BackendInfo {
        choices: Choices {
            batch_tokens: Choice::new(asked, default),
            ..info.choices
        },
        ..info
    }
}

/// What decides for a checkpoint on the backend and device of `info`.
#[cfg(any(feature = "mlx", feature = "onnx"))]
fn tuner(request: &Request, info: &BackendInfo, config: &ModelConfig) -> Tuner {
    Tuner::new(&request.tuning, info, config)
}

/// The execution providers of the ONNX Runtime library.
#[cfg(feature = "onnx")]
pub(crate) fn execution_providers(request: &Request) -> Result<Vec<ExecutionProvider>> {
    onnx::offered(&request.onnx)
}

/// Loads the checkpoint into the backend that [`probe`] names, or into the next one where that
/// fails to take it and nobody asked for it by name.
pub(crate) fn open(
    request: &Request,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> Result<Box<dyn Backend>> {
    let load = |request: &Request, info| load(request, info, config, checkpoint);
    load_or_fall_back(request, probe(request)?, &load)
}

/// As [`open`], of an ONNX file, which only ONNX Runtime takes.
pub(crate) fn open_onnx(request: &Request, model: &OnnxModel) -> Result<Box<dyn Backend>> {
    if request.backend == BackendChoice::Mlx {
        let reason = "an ONNX file runs on ONNX Runtime only".to_owned();
        return Err(unavailable("MLX", reason));
    }
    let (wanted, own) = (request.precision, model.precision());
    if !matches!(
        (wanted, own),
        (Precision::Auto, _) | (Precision::F32, Dtype::F32) | (Precision::F16, Dtype::F16)
    ) {
        let reason = format!("the ONNX file computes in {own}, not in {wanted:?}");
        return Err(unavailable("ONNX Runtime", reason));
    }
    let request = Request {
        backend: BackendChoice::Onnx,
        precision: Precision::Auto,
        ..request.clone()
    };
    let load = |request: &Request, info| load_file(request, info, model);
    load_or_fall_back(&request, probe(&request)?, &load)
}

/// Loads a model onto what was resolved for a request.
type Load<'a> = &'a dyn Fn(&Request, BackendInfo) -> Result<Box<dyn Backend>>;

fn load_or_fall_back(
    request: &Request,
    info: BackendInfo,
    load: Load<'_>,
) -> Result<Box<dyn Backend>> {
    if let Some(reason) = &info.fallback {
        tracing::warn!(backend = info.backend, device = %info.device, "no accelerator: {reason}");
    }
    let next = next_after(request, &info);
    let before = info.fallback.clone();
    match (load(request, info), next) {
        (Err(error), Some(next)) if is_of_the_device(&error) => {
            let failure = format!("the model was not loaded: {error}");
            let info = probe(&next)
                .map_err(|other| unavailable("any backend", format!("{failure}; {other}")))?;
            let reasons = [before, Some(failure), info.fallback];
            let reasons: Vec<String> = reasons.into_iter().flatten().collect();
            let fallback = Some(reasons.join("; "));
            load_or_fall_back(&next, BackendInfo { fallback, ..info }, load)
        }
        (loaded, _) => loaded,
    }
}

/// What to try where the model does not load onto the accelerator that `info` names. Nothing where
/// the accelerator was asked for, and where it is the processor already.
fn next_after(request: &Request, info: &BackendInfo) -> Option<Request> {
    let free = request.device == Device::Auto && request.fallback == Fallback::Allow;
    if !free || info.device == DeviceKind::Cpu || !cfg!(feature = "onnx") {
        return None;
    }
    #[cfg(feature = "onnx")]
    if request.onnx.provider.is_some() {
        return None;
    }
    let device = match (request.backend, info.backend) {
        (BackendChoice::Mlx, _) => return None,
        (BackendChoice::Auto, "mlx") => Device::Auto,
        (BackendChoice::Auto | BackendChoice::Onnx, _) => Device::Cpu,
    };
    Some(Request {
        backend: BackendChoice::Onnx,
        device,
        ..request.clone()
    })
}

/// Whether another device may do better: a broken file is broken everywhere.
fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Backend { .. } | Error::BackendUnavailable { .. } | Error::ModelTooLarge { .. }
    )
}

fn load(
    request: &Request,
    info: BackendInfo,
    config: &ModelConfig,
    checkpoint: &Checkpoint,
) -> Result<Box<dyn Backend>> {
    let info = with_packing(info, checkpoint);
    #[cfg(any(feature = "mlx", feature = "onnx"))]
    let tuner = tuner(request, &info, config);
    match info.backend {
        #[cfg(feature = "mlx")]
        "mlx" => Ok(Box::new(Mlx::load(
            info,
            config,
            checkpoint,
            request.prefixes.0,
            request.mlx,
            &tuner,
        )?)),
        #[cfg(feature = "onnx")]
        "onnx" => Ok(Box::new(Onnx::load(
            info,
            config,
            checkpoint,
            &request.onnx,
            request.prefixes.0,
            &tuner,
        )?)),
        other => {
            let _ = (request.prefixes.0, config, checkpoint);
            Err(not_built(other))
        }
    }
}

/// Says how the checkpoint's matrices are packed, and what becomes of them: only MLX computes with
/// them as they are.
fn with_packing(info: BackendInfo, checkpoint: &Checkpoint) -> BackendInfo {
    let Some(packing) = checkpoint.quantization() else {
        return info;
    };
    let held = match info.backend {
        "mlx" => String::new(),
        _ => format!(", held in {}", info.precision),
    };
    let reason = format!("{}; {packing} weights{held}", info.reason);
    BackendInfo { reason, ..info }
}

#[cfg(feature = "onnx")]
fn load_file(request: &Request, info: BackendInfo, model: &OnnxModel) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Foreign::load(info, model, &request.onnx)?))
}

#[cfg(not(feature = "onnx"))]
fn load_file(_: &Request, info: BackendInfo, _: &OnnxModel) -> Result<Box<dyn Backend>> {
    Err(not_built(info.backend))
}

/// An execution provider is a part of ONNX Runtime.
fn implied_backend(request: &Request) -> Result<BackendChoice> {
    #[cfg(feature = "onnx")]
    if let Some(provider) = request.onnx.provider {
        return match request.backend {
            BackendChoice::Auto | BackendChoice::Onnx => Ok(BackendChoice::Onnx),
            BackendChoice::Mlx => Err(Error::Option {
                option: "execution_provider",
                expected: "none, since the backend is MLX".to_owned(),
                found: provider.to_string(),
            }),
        };
    }
    Ok(request.backend)
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
        Ok(info) if device == Device::Auto && info.device == DeviceKind::Cpu => {
            let also = info
                .fallback
                .iter()
                .map(|own| format!("; ONNX Runtime: {own}"));
            let missing = also.fold(missing, |missing, own| missing + &own);
            Ok(BackendInfo {
                fallback: Some(missing),
                ..info
            })
        }
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

#[cfg(all(test, feature = "mlx", feature = "onnx"))]
mod tests;
