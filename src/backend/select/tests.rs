//! A model that does not load onto the accelerator: MLX is left too little memory for it.
#![allow(clippy::unwrap_used)]

use std::io;
use std::path::{Path, PathBuf};

use super::mlx::admission_tests::{TURN, with_bytes_left};
use super::*;
use crate::batch::TokenBatch;

/// Opens the built-in model as if MLX ran on a GPU, which has 1000 bytes left.
fn open_on_a_full_gpu(request: &Request) -> Result<Box<dyn Backend>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&dir, &config).unwrap();
    let info = BackendInfo {
        device: DeviceKind::Gpu,
        ..mlx::probe(Device::Cpu, Precision::F32).unwrap()
    };
    let _turn = TURN.lock();
    with_bytes_left(1000, || {
        let load = |request: &Request, info| load(request, info, &config, &checkpoint);
        load_or_fall_back(request, info, &load)
    })
}

#[test]
fn a_model_that_does_not_load_onto_the_gpu_runs_on_the_processor_with_the_reason() {
    let mut backend = open_on_a_full_gpu(&Request::default()).unwrap();
    assert_eq!(backend.info().backend, "onnx");
    assert_eq!(backend.info().device, DeviceKind::Cpu);
    let fallback = backend.info().fallback.clone().unwrap();
    assert!(
        fallback
            .starts_with("the model was not loaded: the model's weights take 9149184 bytes on MLX"),
        "{fallback}"
    );
    let batch = TokenBatch::new(&[&[1, 2, 3]], 100).unwrap();
    let rows = backend.forward(&batch).unwrap();
    assert!(rows.data.iter().all(|value| value.is_finite()));
}

#[test]
fn a_required_or_named_accelerator_fails_closed_when_the_model_does_not_load() {
    for request in [
        Request {
            fallback: Fallback::Forbid,
            ..Request::default()
        },
        Request {
            device: Device::Gpu,
            ..Request::default()
        },
        Request {
            backend: BackendChoice::Mlx,
            ..Request::default()
        },
    ] {
        let Err(error) = open_on_a_full_gpu(&request) else {
            panic!("{request:?} was answered by another device");
        };
        assert!(matches!(error, Error::ModelTooLarge { .. }), "{error}");
    }
}

#[test]
fn where_nothing_else_can_run_every_reason_is_given() {
    let missing = PathBuf::from("missing/libonnxruntime.so");
    let request = Request {
        onnx: onnx::Options {
            library: Some(missing),
            ..onnx::Options::default()
        },
        ..Request::default()
    };
    let Err(error) = open_on_a_full_gpu(&request) else {
        panic!("a library that is not there was loaded");
    };
    let text = error.to_string();
    for part in [
        "any backend: not available: the model was not loaded: the model's weights take ",
        "; ONNX Runtime: not available: missing/libonnxruntime.so, named by onnxruntime_library, \
         is not a file",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_broken_file_is_not_hidden_behind_a_fallback() {
    let path = PathBuf::from("model.safetensors");
    assert!(!is_of_the_device(&Error::Io {
        path: path.clone(),
        source: io::ErrorKind::UnexpectedEof.into(),
    }));
    assert!(!is_of_the_device(&Error::TensorMissing {
        path,
        tensor: "norm.weight".to_owned(),
    }));
    assert!(is_of_the_device(&Error::ModelTooLarge {
        backend: "MLX",
        needed: 2,
        free: 1,
    }));
}

#[test]
fn an_execution_provider_named_implies_onnx_runtime_and_refuses_mlx() {
    let mut request = Request {
        onnx: onnx::Options {
            provider: Some(ExecutionProvider::Cpu),
            ..onnx::Options::default()
        },
        ..Request::default()
    };
    assert_eq!(probe(&request).unwrap().backend, "onnx");
    request.backend = BackendChoice::Mlx;
    assert_eq!(
        probe(&request).unwrap_err().to_string(),
        "execution_provider: expected none, since the backend is MLX, found cpu"
    );
}

#[test]
fn a_gpu_of_onnx_runtime_is_followed_by_the_processor_unless_it_was_asked_for() {
    let free = Request {
        backend: BackendChoice::Onnx,
        ..Request::default()
    };
    let on_cpu = probe(&Request {
        device: Device::Cpu,
        ..free.clone()
    });
    let info = BackendInfo {
        device: DeviceKind::Gpu,
        execution_provider: Some(ExecutionProvider::Cuda),
        ..on_cpu.unwrap()
    };
    let next = next_after(&free, &info).unwrap();
    assert_eq!(
        (next.backend, next.device),
        (BackendChoice::Onnx, Device::Cpu)
    );
    let mut named = free;
    named.onnx.provider = Some(ExecutionProvider::Cuda);
    assert!(next_after(&named, &info).is_none());
}
