//! Devices, limits and admission: what must hold before MLX is handed work.

use super::array::failed;
use super::ffi::bridge::{self, DeviceKind as BridgeDevice};
use super::limits::Limits;
use crate::backend::admission::Attention;
use crate::backend::tuning::Choices;
use crate::backend::{BackendInfo, Device, DeviceKind, Precision};
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// The only version whose behaviour after errors this crate relies on.
const VERSION: &str = "0.32.4";

/// Head sizes for which MLX has a fused Metal kernel that stores no scores.
const FUSED_HEAD_DIMS: [usize; 3] = [64, 80, 128];

pub(super) fn to_bridge(device: DeviceKind) -> BridgeDevice {
    match device {
        DeviceKind::Cpu => BridgeDevice::Cpu,
        DeviceKind::Gpu => BridgeDevice::Gpu,
    }
}

/// Resolves the device and the precision, and says why.
pub(in crate::backend) fn probe(device: Device, precision: Precision) -> Result<BackendInfo> {
    let version = bridge::version().map_err(|e| failed("version", e))?;
    if version != VERSION {
        return Err(Error::BackendUnavailable {
            backend: "MLX".to_owned(),
            reason: format!("expected version {VERSION}, found {version}"),
        });
    }
    if precision == Precision::Int8 {
        return Err(Error::BackendUnavailable {
            backend: "MLX".to_owned(),
            reason: "precision Int8 is not supported; supported: Auto, F32, F16, Bf16".to_owned(),
        });
    }
    let (device, reason, fallback) = choose_device(device)?;
    let info = bridge::device_info(to_bridge(device)).map_err(|e| failed("device_info", e))?;
    Ok(BackendInfo {
        backend: "mlx",
        device,
        execution_provider: None,
        precision: choose_precision(precision, device, &info.architecture),
        choices: Choices::new(device, precision, None),
        device_name: info.name,
        library_version: version,
        library_path: bridge::library_path().map_err(|e| failed("library_path", e))?,
        reason,
        fallback,
    })
}

fn choose_device(device: Device) -> Result<(DeviceKind, String, Option<String>)> {
    let gpu = bridge::is_available(BridgeDevice::Gpu).map_err(|e| failed("is_available", e))?;
    let missing = "this build of MLX finds no Metal or CUDA device";
    match (device, gpu) {
        (Device::Cpu, _) => Ok((DeviceKind::Cpu, "the CPU was asked for".to_owned(), None)),
        (Device::Gpu, true) => Ok((DeviceKind::Gpu, "a GPU was asked for".to_owned(), None)),
        (Device::Auto, true) => Ok((DeviceKind::Gpu, "a GPU is available".to_owned(), None)),
        (Device::Auto, false) => Ok((
            DeviceKind::Cpu,
            "no GPU is available".to_owned(),
            Some(missing.to_owned()),
        )),
        (Device::Gpu, false) => Err(Error::BackendUnavailable {
            backend: "MLX on a GPU".to_owned(),
            reason: missing.to_owned(),
        }),
    }
}

fn choose_precision(precision: Precision, device: DeviceKind, architecture: &str) -> Dtype {
    // M1 and M2 emulate bf16.
    let emulated = ["applegpu_g13", "applegpu_g14"]
        .iter()
        .any(|generation| architecture.starts_with(generation));
    match (precision, device) {
        (Precision::F32, _) | (Precision::Auto, DeviceKind::Cpu) => Dtype::F32,
        (Precision::F16, _) => Dtype::F16,
        (Precision::Auto, DeviceKind::Gpu) if emulated => Dtype::F16,
        // Int8 was refused.
        (Precision::Bf16 | Precision::Int8, _) | (Precision::Auto, DeviceKind::Gpu) => Dtype::Bf16,
    }
}

/// Sets what holds for the whole process, before a model is loaded.
pub(super) fn prepare(device: BridgeDevice, limits: Limits) -> Result<()> {
    match device {
        // On a CPU, compiled functions run the C++ compiler and load its output from a
        // predictable temporary path. A GPU model that is first run later in the same process
        // goes without its one compiled function, which costs it a little speed.
        BridgeDevice::Cpu => bridge::disable_compile().map_err(|e| failed("disable_compile", e)),
        _ => limits.apply(),
    }
}

/// Bytes left under the library's memory limit.
pub(super) fn free_memory() -> Result<usize> {
    let limit = bridge::memory_limit().map_err(|e| failed("memory_limit", e))?;
    let active = bridge::active_memory().map_err(|e| failed("active_memory", e))?;
    Ok(limit.saturating_sub(active))
}

/// How attention is computed.
pub(super) fn attention(config: &ModelConfig, info: &BackendInfo, compute: Dtype) -> Attention {
    // CUDA's fused kernels take 16-bit types only.
    let metal = cfg!(target_os = "macos");
    let fused = info.device == DeviceKind::Gpu
        && FUSED_HEAD_DIMS.contains(&config.head_dim())
        && (metal || compute != Dtype::F32);
    match fused {
        true => Attention::Fused,
        false => Attention::Stored,
    }
}

/// Bytes left for a forward pass in that precision.
pub(super) fn free_for(config: &ModelConfig, info: &BackendInfo, compute: Dtype) -> Result<usize> {
    // Weights of another type are converted a layer at a time.
    let converted = match compute == info.precision {
        true => 0,
        false => layer_elements(config).saturating_mul(compute.size()),
    };
    Ok(free_memory()?.saturating_sub(converted))
}

fn layer_elements(config: &ModelConfig) -> usize {
    let attention = 2 * (config.query_size() + config.key_value_size());
    let rows = attention.saturating_add(3 * config.intermediate_size());
    rows.saturating_mul(config.hidden_size())
}
