//! Which execution provider and precision run, and why.

use super::library::{self, Library, unavailable};
use super::providers::{self, Provider, TRIED};
use super::threads::Threads;
use super::{Options, failed};
use crate::backend::execution_provider::ExecutionProvider;
use crate::backend::tuning::Choices;
use crate::backend::{BackendInfo, Device, DeviceKind, Precision};
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// The provider that runs, and why.
struct Choice {
    provider: ExecutionProvider,
    reason: String,
    fallback: Option<String>,
}

/// Resolves the library, the provider and the precision, and says why.
pub(in crate::backend) fn probe(
    device: Device,
    precision: Precision,
    options: &Options,
) -> Result<BackendInfo> {
    let named = options.provider;
    check_device(device, named)?;
    check_engine_cache(options)?;
    // What can be refused without a library needs none.
    resolve(precision, named.unwrap_or(ExecutionProvider::Cpu))?;
    let library = library::load(options.library.as_deref())?;
    let choice = choose(device, precision, options, library)?;
    Ok(BackendInfo {
        backend: "onnx",
        device: choice.provider.device(),
        execution_provider: Some(choice.provider),
        device_name: String::new(),
        precision: resolve(precision, choice.provider)?,
        choices: Choices::new(
            choice.provider.device(),
            precision,
            Some(Threads::choice(options)?),
        ),
        library_version: library.version.clone(),
        library_path: library.path.display().to_string(),
        reason: match precision {
            Precision::Auto => {
                format!("{}, in f32 since no precision was asked for", choice.reason)
            }
            _ => choice.reason,
        },
        fallback: choice.fallback,
    })
}

/// The providers that the library offers; whether one binds is another question.
pub(in crate::backend) fn offered(options: &Options) -> Result<Vec<ExecutionProvider>> {
    library::load(options.library.as_deref())?;
    providers::offered().map_err(|error| failed("providers", error))
}

/// A provider of another device than the one asked for is a contradiction.
fn check_device(device: Device, named: Option<ExecutionProvider>) -> Result<()> {
    let (expected, kind) = match device {
        Device::Auto => return Ok(()),
        Device::Cpu => ("cpu, since the device is the CPU", DeviceKind::Cpu),
        Device::Gpu => (
            "an accelerator's, since the device is a GPU",
            DeviceKind::Gpu,
        ),
    };
    match named {
        Some(provider) if provider.device() != kind => Err(Error::Option {
            option: "execution_provider",
            expected: expected.to_owned(),
            found: provider.to_string(),
        }),
        _ => Ok(()),
    }
}

/// A folder that TensorRT cannot use would be found out after minutes of compiling.
fn check_engine_cache(options: &Options) -> Result<()> {
    let Some(folder) = &options.engine_cache else {
        return Ok(());
    };
    let expected = match options.provider {
        Some(ExecutionProvider::TensorRt) if folder.is_dir() && folder.to_str().is_some() => {
            return Ok(());
        }
        Some(ExecutionProvider::TensorRt) => "a folder whose name is text",
        _ => "none, since the execution provider is not tensorrt",
    };
    Err(Error::Option {
        option: "engine_cache",
        expected: expected.to_owned(),
        found: folder.display().to_string(),
    })
}

/// The element type that the provider computes in.
fn resolve(precision: Precision, provider: ExecutionProvider) -> Result<Dtype> {
    match (precision, provider) {
        (Precision::Auto | Precision::F32, _) => Ok(Dtype::F32),
        (Precision::F16, provider) if computes_in_f16(provider) => Ok(Dtype::F16),
        (Precision::Int8, ExecutionProvider::Cpu) => Ok(Dtype::Int8),
        _ => {
            let mut supported = "Auto, F32".to_owned();
            if computes_in_f16(provider) {
                supported += ", F16";
            }
            if provider == ExecutionProvider::Cpu {
                supported += ", Int8";
            }
            Err(unavailable(format!(
                "precision {precision:?} is not supported by execution provider {provider} on \
                 this {}; supported: {supported}",
                std::env::consts::ARCH
            )))
        }
    }
}

/// Where ONNX Runtime multiplies in f16. On other processors it would turn the weights back into
/// f32 while it loads them.
fn computes_in_f16(provider: ExecutionProvider) -> bool {
    match provider {
        ExecutionProvider::Cpu => processor_computes_in_f16(),
        ExecutionProvider::TensorRt => true,
        ExecutionProvider::Cuda | ExecutionProvider::CoreMl => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn processor_computes_in_f16() -> bool {
    std::arch::is_aarch64_feature_detected!("fp16")
}

#[cfg(not(target_arch = "aarch64"))]
fn processor_computes_in_f16() -> bool {
    false
}

fn choose(
    device: Device,
    precision: Precision,
    options: &Options,
    library: &Library,
) -> Result<Choice> {
    let try_to_bind = |kind| try_to_bind(kind, precision, options, library);
    if let Some(provider) = options.provider {
        let path = library.path.display();
        let told = |reason| unavailable(format!("{reason} ({path})"));
        try_to_bind(provider).map_err(told)?;
        return Ok(Choice {
            provider,
            reason: format!("execution provider {provider} was asked for"),
            fallback: None,
        });
    }
    let cpu = |reason: &str, fallback| Choice {
        provider: ExecutionProvider::Cpu,
        reason: format!("{reason}: execution provider cpu"),
        fallback,
    };
    if device == Device::Cpu {
        return Ok(cpu("the CPU was asked for", None));
    }
    let mut missing = Vec::new();
    for provider in TRIED {
        match try_to_bind(provider) {
            Ok(()) => {
                return Ok(Choice {
                    provider,
                    reason: format!("a GPU is available: execution provider {provider}"),
                    fallback: None,
                });
            }
            Err(reason) => missing.push(reason),
        }
    }
    let missing = missing.join("; ");
    match device {
        Device::Gpu => Err(unavailable(missing)),
        _ => Ok(cpu("no accelerator", Some(missing))),
    }
}

/// # Errors
/// Why the provider cannot be used.
fn try_to_bind(
    kind: ExecutionProvider,
    precision: Precision,
    options: &Options,
    library: &Library,
) -> Result<(), String> {
    let offered = providers::offered().map_err(|error| error.to_string())?;
    if !offered.contains(&kind) {
        let offered: Vec<_> = offered.iter().map(|kind| kind.name()).collect();
        return Err(format!(
            "execution provider {kind} is not in its library, which offers {}",
            offered.join(", ")
        ));
    }
    let precision = resolve(precision, kind).map_err(|error| error.to_string())?;
    let provider = Provider::new(kind, precision, options);
    let bound = provider.probe(library);
    bound.map_err(|reason| format!("execution provider {kind} does not bind: {reason}"))
}
