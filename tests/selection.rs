//! Which backend runs, which library it loads, and what is said where that is not possible.
//!
//! A process loads one ONNX Runtime: tests that need another run this file again as a child.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use qwen3_embedding::{
    BackendChoice, Device, DeviceKind, Dtype, Embedder, EmbedderBuilder, Error, ExecutionProvider,
    Precision,
};
use support::*;

fn onnx() -> EmbedderBuilder {
    Embedder::from_dir(tiny()).backend(BackendChoice::Onnx)
}

fn auto() -> EmbedderBuilder {
    Embedder::from_dir(tiny())
}

fn refusal(builder: &EmbedderBuilder) -> String {
    let error = builder.probe().unwrap_err();
    assert!(matches!(error, Error::BackendUnavailable { .. }));
    error.to_string()
}

/// What MLX says where it has no accelerator, or is not in the build.
fn without_mlx() -> String {
    if cfg!(feature = "mlx") {
        "MLX on a GPU: not available: this build of MLX finds no Metal or CUDA device".to_owned()
    } else {
        "MLX: not available: this build does not contain it; see the crate's features".to_owned()
    }
}

/// What ONNX Runtime says of a provider that the library was built without.
fn not_offered(provider: ExecutionProvider) -> String {
    let offered: Vec<_> = onnx().execution_providers().unwrap();
    let offered: Vec<_> = offered.iter().map(|provider| provider.name()).collect();
    format!(
        "execution provider {provider} is not in its library, which offers {}",
        offered.join(", ")
    )
}

fn without_cuda() -> String {
    not_offered(ExecutionProvider::Cuda)
}

fn has_gpu() -> bool {
    auto().device(Device::Gpu).probe().is_ok()
}

#[test]
fn the_cpu_runs_onnx_runtime_and_says_what_it_is() {
    let info = auto().device(Device::Cpu).probe().unwrap();
    assert_eq!(info.backend, "onnx");
    assert_eq!(info.device, DeviceKind::Cpu);
    assert_eq!(info.precision, Dtype::F32);
    assert_eq!(
        info.reason,
        "the CPU was asked for: execution provider cpu, in f32 since no precision was asked for"
    );
    assert_eq!(info.fallback, None);
    assert!(info.library_version.starts_with("1."), "{info:?}");
    assert!(Path::new(&info.library_path).is_file(), "{info:?}");
    assert_eq!(*auto().device(Device::Cpu).build().unwrap().backend(), info);
}

#[test]
fn auto_without_an_accelerator_is_onnx_runtime_with_the_reason() {
    if has_gpu() {
        return;
    }
    let info = auto().probe().unwrap();
    assert_eq!(info.backend, "onnx");
    let reasons = format!("{}; ONNX Runtime: {}", without_mlx(), without_cuda());
    assert_eq!(info.fallback, Some(reasons));
}

#[test]
fn a_required_accelerator_that_is_not_there_is_an_error() {
    let cpu = "accelerator: not available: the CPU was asked for: execution provider cpu";
    let on_cpu = onnx().device(Device::Cpu).precision(Precision::F32);
    assert_eq!(refusal(&on_cpu.require_accelerator()), cpu);
    assert_eq!(
        refusal(&onnx().require_accelerator()),
        format!("accelerator: not available: {}", without_cuda())
    );
    if !has_gpu() {
        assert_eq!(
            refusal(&auto().require_accelerator()),
            format!(
                "accelerator: not available: {}; ONNX Runtime: {}",
                without_mlx(),
                without_cuda()
            )
        );
    }
}

#[test]
fn a_gpu_asked_for_and_not_there_gives_every_backend_s_reason() {
    let onnx_has_none = format!("ONNX Runtime: not available: {}", without_cuda());
    assert_eq!(refusal(&onnx().device(Device::Gpu)), onnx_has_none);
    if !has_gpu() {
        assert_eq!(
            refusal(&auto().device(Device::Gpu)),
            format!(
                "any backend: not available: {}; {onnx_has_none}",
                without_mlx()
            )
        );
    }
}

#[test]
fn an_execution_provider_is_bound_or_refused_and_never_replaced() {
    let offered = onnx().execution_providers().unwrap();
    assert!(offered.contains(&ExecutionProvider::Cpu), "{offered:?}");
    for provider in ExecutionProvider::ALL {
        let named = auto().execution_provider(provider);
        if !offered.contains(&provider) {
            let library = onnx().device(Device::Cpu).probe().unwrap().library_path;
            let reason = format!("{} ({library})", not_offered(provider));
            let expected = format!("ONNX Runtime: not available: {reason}");
            assert_eq!(refusal(&named), expected);
            assert_eq!(named.build().err().unwrap().to_string(), expected);
        } else if let Ok(info) = named.probe() {
            assert_eq!(info.backend, "onnx");
            assert_eq!(info.execution_provider, Some(provider));
            assert_eq!(info.device, provider.device());
            let reason = format!(
                "execution provider {provider} was asked for, in f32 since no precision was \
                 asked for"
            );
            assert_eq!((info.reason, info.fallback), (reason, None));
        } else {
            let bound = format!("ONNX Runtime: not available: execution provider {provider} does");
            assert!(refusal(&named).starts_with(&bound), "{}", refusal(&named));
        }
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    use ExecutionProvider::{Cpu, Cuda, TensorRt};
    let on = |provider| auto().execution_provider(provider);
    for (builder, expected) in [
        (
            on(Cuda).device(Device::Cpu),
            "execution_provider: expected cpu, since the device is the CPU, found cuda",
        ),
        (
            on(Cpu).device(Device::Gpu),
            "execution_provider: expected an accelerator's, since the device is a GPU, found cpu",
        ),
        (
            on(Cpu).backend(BackendChoice::Mlx),
            "execution_provider: expected none, since the backend is MLX, found cpu",
        ),
        (
            on(Cuda).engine_cache("engines"),
            "engine_cache: expected none, since the execution provider is not tensorrt, \
             found engines",
        ),
        (
            on(TensorRt).engine_cache("no such folder"),
            "engine_cache: expected a folder whose name is text, found no such folder",
        ),
    ] {
        assert_eq!(builder.probe().unwrap_err().to_string(), expected);
    }
}

#[test]
fn half_precision_runs_where_the_processor_has_it_and_is_refused_elsewhere() {
    let half = onnx().device(Device::Cpu).precision(Precision::F16);
    if processor_computes_in_f16() {
        assert_eq!(half.probe().unwrap().precision, Dtype::F16);
    }
    let supported = match processor_computes_in_f16() {
        true => "Auto, F32, F16, Int8",
        false => "Auto, F32, Int8",
    };
    for precision in [Precision::F16, Precision::Bf16] {
        if supports(BackendChoice::Onnx, precision) {
            continue;
        }
        assert_eq!(
            refusal(&onnx().precision(precision)),
            format!(
                "ONNX Runtime: not available: precision {precision:?} is not supported by \
                 execution provider cpu on this {}; supported: {supported}",
                std::env::consts::ARCH
            )
        );
    }
}

#[test]
fn a_named_library_that_is_missing_is_an_error_also_after_another_was_loaded() {
    let missing = tiny().join("libmissing.so");
    let expected = format!(
        "ONNX Runtime: not available: {}, named by onnxruntime_library, is not a file",
        missing.display()
    );
    assert_eq!(refusal(&onnx().onnxruntime_library(&missing)), expected);
    let loaded = PathBuf::from(onnx().probe().unwrap().library_path);
    assert_eq!(refusal(&onnx().onnxruntime_library(&missing)), expected);

    let other = tiny().join("config.json");
    assert_eq!(
        refusal(&onnx().onnxruntime_library(&other)),
        format!(
            "ONNX Runtime: not available: {} was asked for, but the process has already loaded {}",
            other.display(),
            loaded.display()
        )
    );
    onnx().onnxruntime_library(loaded).probe().unwrap();
}

/// What a fresh process answers whose variable names `library`.
fn in_a_child(library: &Path) -> String {
    let child = this_program()
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("QWEN3_ONNXRUNTIME", library)
        .env("TEST_WORKING_LIBRARY", onnx().probe().unwrap().library_path)
        // Never read: were it, the child would load this folder or fail in another way.
        .env("ORT_DYLIB_PATH", tiny())
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let output = String::from_utf8(child.stdout).unwrap();
    let mut lines = output.lines();
    let answer = lines.find_map(|line| line.split_once("answer: ")).unwrap();
    answer.1.to_owned()
}

#[test]
#[ignore = "run by the others, in a process of its own"]
#[allow(clippy::print_stdout, reason = "the other process reads it")]
fn child() {
    // A refusal must leave the process able to load a library that is one.
    let answer = match onnx().probe() {
        Ok(info) => info.library_path,
        Err(error) => error.to_string(),
    };
    println!("\nanswer: {answer}");
    let working = std::env::var_os("TEST_WORKING_LIBRARY").unwrap();
    if answer.starts_with("ONNX Runtime: not available") {
        onnx().onnxruntime_library(working).build().unwrap();
    }
}

#[test]
fn the_variable_names_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = onnx().probe().unwrap().library_path;
    let copy = folder.path().join("any-name");
    fs::copy(loaded, &copy).unwrap();
    assert_eq!(in_a_child(&copy), copy.display().to_string());
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn files_that_are_no_onnx_runtime_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(
        file("text"),
        "not a library, but long enough for a header: ".repeat(9),
    )
    .unwrap();
    assert_eq!(
        in_a_child(&file("text")),
        format!(
            "ONNX Runtime: not available: {0} does not load: {0}: invalid ELF header",
            file("text").display()
        )
    );
    let library = onnx().probe().unwrap().library_path;
    let library = fs::read(library).unwrap();
    fs::write(file("half"), &library[..library.len() / 2]).unwrap();
    let cut_off = in_a_child(&file("half"));
    let expected = format!("{} does not load: it was cut off: ", file("half").display());
    assert!(cut_off.contains(&expected), "{cut_off}");

    let mut other = library;
    let (number, name) = match std::env::consts::ARCH {
        "aarch64" => (62, "x86_64"),
        _ => (183, "aarch64"),
    };
    other[18] = number;
    fs::write(file("other"), other).unwrap();
    assert_eq!(
        in_a_child(&file("other")),
        format!(
            "ONNX Runtime: not available: {} does not load: it is for {name}, expected {}",
            file("other").display(),
            std::env::consts::ARCH
        )
    );
    assert_eq!(
        in_a_child(&file("absent")),
        format!(
            "ONNX Runtime: not available: {}, named by QWEN3_ONNXRUNTIME, is not a file",
            file("absent").display()
        )
    );
}
