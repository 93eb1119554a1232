//! Which wheel serves which target, and what the others are told.

#![allow(clippy::unwrap_used)]

use super::*;

/// Parses `aarch64-macos-14.7` or `x86_64-linux-gnu`.
fn target(words: &str) -> Target {
    let mut words = words.splitn(3, '-');
    let (arch, os) = (words.next().unwrap(), words.next().unwrap());
    let (libc, macos) = match os {
        "macos" => ("", words.next()),
        _ => (words.next().unwrap_or_default(), None),
    };
    Target::parse(os, arch, libc, macos).unwrap()
}

#[test]
fn each_target_gets_its_own_wheel() {
    use Package::{Mlx, MlxCuda, OnnxRuntime};
    for (package, words, expected) in [
        (
            Mlx,
            "aarch64-macos-14.7",
            "mlx-metal 0.32.4 (macosx_14_0_arm64)",
        ),
        (Mlx, "aarch64-macos", "mlx-metal 0.32.4 (macosx_15_0_arm64)"),
        (
            Mlx,
            "aarch64-macos-15.6",
            "mlx-metal 0.32.4 (macosx_15_0_arm64)",
        ),
        (
            Mlx,
            "aarch64-macos-26.0",
            "mlx-metal 0.32.4 (macosx_26_0_arm64)",
        ),
        (
            Mlx,
            "aarch64-macos-27.1",
            "mlx-metal 0.32.4 (macosx_26_0_arm64)",
        ),
        (
            Mlx,
            "x86_64-linux-gnu",
            "mlx-cpu 0.32.4 (manylinux_2_35_x86_64)",
        ),
        (
            Mlx,
            "aarch64-linux-gnu",
            "mlx-cpu 0.32.4 (manylinux_2_35_aarch64)",
        ),
        (
            MlxCuda,
            "x86_64-linux-gnu",
            "mlx-cuda-13 0.32.4 (manylinux_2_35_x86_64)",
        ),
        (
            MlxCuda,
            "aarch64-linux-gnu",
            "mlx-cuda-13 0.32.4 (manylinux_2_35_aarch64)",
        ),
        (
            OnnxRuntime,
            "x86_64-linux-gnu",
            "onnxruntime 1.31.1 (manylinux_2_28_x86_64)",
        ),
        (
            OnnxRuntime,
            "aarch64-linux-gnu",
            "onnxruntime 1.31.1 (manylinux_2_28_aarch64)",
        ),
        (
            OnnxRuntime,
            "aarch64-macos-26.0",
            "onnxruntime 1.31.1 (macosx_14_0_arm64)",
        ),
    ] {
        assert_eq!(select(package, &target(words)).unwrap().title(), expected);
    }
}

#[test]
fn a_target_without_a_wheel_is_named_with_the_cure() {
    use Package::{Mlx, MlxCuda, OnnxRuntime};
    let mlx = "set MLX_DIR to an existing MLX 0.32.4";
    let onnx = "set QWEN3_ONNXRUNTIME to an existing ONNX Runtime 1.31.1 library";
    for (package, words, refusal, cure) in [
        (
            Mlx,
            "aarch64-macos-13.6",
            "MLX 0.32.4 for aarch64-macos 13",
            mlx,
        ),
        (
            Mlx,
            "x86_64-macos-15.0",
            "MLX 0.32.4 for x86_64-macos 15",
            mlx,
        ),
        (
            Mlx,
            "x86_64-linux-musl",
            "MLX 0.32.4 for x86_64-linux-musl",
            mlx,
        ),
        (
            MlxCuda,
            "aarch64-macos-15.0",
            "MLX 0.32.4 for CUDA for aarch64-macos 15",
            mlx,
        ),
        (
            OnnxRuntime,
            "x86_64-windows-msvc",
            "ONNX Runtime 1.31.1 for x86_64-windows-msvc",
            onnx,
        ),
    ] {
        let error = select(package, &target(words)).unwrap_err();
        assert_eq!(error.to_string(), format!("no prebuilt {refusal}; {cure}"));
    }
}

#[test]
fn every_pinned_hash_is_a_sha256_and_used_once() {
    let hashes: std::collections::BTreeSet<_> = TABLE.iter().map(|wheel| wheel.sha256).collect();
    assert_eq!(hashes.len(), TABLE.len());
    for hash in hashes {
        assert_eq!(hash.len(), 64);
        assert!(
            hash.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
    }
}
