//! `profile`: operations and layers of the built-in model, the traces, and what it refuses.
#![cfg(all(feature = "bench", feature = "onnx"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;

use serde_json::Value;
use support::{Outcome, on_tiny};
use tempfile::tempdir;

fn profile(more: &[&str]) -> Outcome {
    let args = ["profile", "--batch", "2", "--length", "12", "--runs", "2"];
    on_tiny(&[args.as_slice(), more].concat())
}

/// What every profile of the built-in model holds, whatever ran it.
fn check(report: &Value) {
    let rows = |name: &str| report[name].as_array().unwrap().clone();
    let number = |row: &Value, field: &str| row[field].as_f64().unwrap();
    let names: Vec<_> = rows("layers")
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["0", "1", "2", "outside"]);
    let total = &report["total"];
    for (table, field) in ["ops", "layers"]
        .iter()
        .flat_map(|t| ["ms", "flops", "bytes", "count"].map(|f| (t, f)))
    {
        let sum: f64 = rows(table).iter().map(|row| number(row, field)).sum();
        let all = number(total, field);
        assert!(
            (sum - all).abs() < 1e-6 * all,
            "{table} {field}: {sum} of {all}"
        );
    }
    // Seven matrices in each of the first two layers, two multiplications and additions for each
    // of 24 tokens; the last layer computes the keys and values of all and the rest of the last.
    let products: f64 = [
        (256, 192),
        (128, 192),
        (128, 192),
        (192, 256),
        (384, 192),
        (384, 192),
        (192, 384),
    ]
    .map(|(rows, columns)| 2.0 * 24.0 * f64::from(rows * columns))
    .iter()
    .sum();
    let layer = number(&rows("layers")[0], "flops");
    assert!(
        layer >= products && layer < 1.05 * products,
        "{layer} for {products}"
    );
    assert!(number(total, "ms") > 0.0);
    for peak in ["flops_per_second", "bytes_per_second"] {
        assert!(number(&report["peaks"], peak) > 1e6);
    }
    assert!(number(total, "of_roofline") > 0.0);
    assert!(number(report, "forward_ms") > 0.0);
}

#[test]
fn onnx_runtimes_operations_are_told_and_its_profile_and_the_trace_are_kept() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("new");
    let kept = [
        "--backend",
        "onnx",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let report = profile(&kept).json();
    check(&report);
    let kinds: Vec<_> = report["ops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    for kind in ["MatMulBf16", "CausalAttention", "AddRMSNormalization"] {
        assert!(kinds.contains(&kind.into()), "{kinds:?}");
    }
    let trace = fs::read_to_string(out.join("trace.json")).unwrap();
    let events: Vec<Value> = serde_json::from_str(&trace).unwrap();
    for name in [
        "map",
        "tokenizer",
        "convert",
        "build",
        "tokenise",
        "plan",
        "forward",
        "pass",
        "finish",
    ] {
        assert!(
            events.iter().any(|event| event["name"] == name),
            "no {name} in the trace"
        );
    }
    let names = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let profiles = names.filter(|name| name.to_str().unwrap().starts_with("onnxruntime-"));
    assert!(profiles.count() >= 1);

    let again = profile(&kept);
    assert_eq!(again.code, 1);
    assert!(
        again
            .stderr
            .contains("of an earlier run; expected a folder without profiles")
    );
}

#[test]
fn the_tables_name_the_roofline() {
    let outcome = profile(&["--backend", "onnx"]);
    let text = outcome.stdout();
    for part in [
        "\nproducts   ",
        " GFLOP/s",
        "\nmemory     ",
        " GB/s",
        "% of roofline",
        "\noutside ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[cfg(feature = "mlx")]
#[test]
fn mlxs_operations_are_told() {
    let report = profile(&["--backend", "mlx", "--json"]).json();
    check(&report);
    let first = &report["ops"].as_array().unwrap();
    assert!(
        first
            .iter()
            .any(|row| row["name"] == "matmul" && row["flops"].as_f64() > Some(0.0))
    );
}

#[test]
fn a_gpu_trace_needs_metal() {
    let outcome = profile(&["--backend", "onnx", "--gpu-trace", "new.gputrace"]);
    assert_eq!(outcome.code, 1);
    let reason = "a GPU trace: not available: Metal records it, and this model runs on onnx";
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
}

#[cfg(all(feature = "mlx", not(target_os = "macos")))]
#[test]
fn a_gpu_trace_needs_a_metal_device() {
    let outcome = profile(&["--backend", "mlx", "--gpu-trace", "new.gputrace"]);
    assert_eq!(outcome.code, 1);
    let reason = "Metal records it, and this build of MLX finds no Metal device";
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
}
