//! What a layer asks of the device, counted in MLX's own graph; more of it fails.
//!
//! On a processor MLX takes its fused operations apart, so that what each of them becomes is
//! counted first, and then taken off.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use super::array::Array;
use super::ffi::bridge::{self, DeviceKind, ElementType};
use super::model_tests::load;

/// Kernels of one layer in one pass on a GPU, but for the last layer, whatever the batch.
/// `models/mlx_launches.py` prints these beside mlx-lm's.
const LAUNCHES: [(&str, usize); 8] = [
    ("AddMM", 2),    // o_proj and down_proj, each with its residual
    ("Matmul", 2),   // q_proj, k_proj and v_proj as one; gate_proj and up_proj as one
    ("Multiply", 1), // the gains of q_norm and k_norm
    ("RMSNorm", 2),
    ("RMSNorm of heads", 1),
    ("RoPE", 1), // queries and keys at once
    ("ScaledDotProductAttention", 1),
    ("SwiGLU", 1),
];

/// The same where all matrices are quantised but down_proj, whose columns groups do not divide: MLX
/// has no product of a quantised matrix that adds to another.
const LAUNCHES_QUANTIZED: [(&str, usize); 9] = [
    ("Add", 1),
    ("AddMM", 1),
    ("Multiply", 1),
    ("QuantizedMatmul", 3),
    ("RMSNorm", 2),
    ("RMSNorm of heads", 1),
    ("RoPE", 1),
    ("ScaledDotProductAttention", 1),
    ("SwiGLU", 1),
];

/// What only tells how to read an array that is there.
const VIEWS: [&str; 8] = [
    "Broadcast",
    "ExpandDims",
    "Flatten",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unflatten",
];

type Kinds = BTreeMap<String, usize>;

/// The operations behind an array, by kind.
fn kinds(array: &Array) -> Kinds {
    let graph = bridge::graph(&array.inner).unwrap();
    let mut kinds = Kinds::new();
    for label in graph.split("[label =\"").skip(1) {
        let kind = label.split('"').next().unwrap();
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

/// `all` without `times` times `part`, which it holds.
fn without(mut all: Kinds, part: &Kinds, times: usize) -> Kinds {
    for (kind, count) in part {
        let left = all.get_mut(kind).unwrap();
        *left = left.checked_sub(times * count).unwrap();
    }
    all.retain(|_, count| *count > 0);
    all
}

fn zeros(shape: &[usize]) -> Array {
    let bytes = 4 * shape.iter().product::<usize>();
    Array::build(shape, ElementType::F32, DeviceKind::Cpu, |writer| {
        writer.write(&vec![0; bytes])
    })
    .unwrap()
}

#[test]
fn a_layer_takes_no_more_launches_than_it_did() {
    let found = launches("tests/fixtures/parity/gqa-8-4-five-layers");
    assert_eq!(found, named(&LAUNCHES));
    let found = launches("tests/fixtures/mlx/affine-3bit-g32");
    assert_eq!(found, named(&LAUNCHES_QUANTIZED));
}

fn named(launches: &[(&str, usize)]) -> Kinds {
    let launches = launches.iter();
    launches
        .map(|&(kind, count)| (kind.to_owned(), count))
        .collect()
}

/// Those of one layer of a checkpoint of one shape.
fn launches(checkpoint: &str) -> Kinds {
    let mut model = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(checkpoint), 0);
    let [b, l] = [2, 7];
    let ids = vec![3; b * l];
    let mut pass = || {
        let rows = model
            .qwen3
            .forward(&ids, [b, l], None, &[6, 3], ElementType::F32);
        // The weights' own views are evaluated once, by whatever runs first.
        let kinds = kinds(rows.as_ref().unwrap());
        model.qwen3.layers.pop();
        kinds
    };
    let mut layer = pass();
    let fewer = pass();
    for (kind, count) in &fewer {
        *layer.get_mut(kind).unwrap() -= count;
    }
    layer.retain(|_, count| *count > 0);

    let (hidden, h, kv, d) = (32, 8, 4, 8);
    let heads = zeros(&[b, l, h + 2 * kv, d]);
    let rotated = zeros(&[b, h + kv, l, d]);
    let (queries, keys) = (zeros(&[b, h, l, d]), zeros(&[b, kv, l, d]));
    let stream = zeros(&[b * l, hidden]);
    let fused = [
        ("RMSNorm", stream.rms_norm(&zeros(&[hidden]), 1e-6)),
        ("RMSNorm of heads", heads.rms_norm_unscaled(1e-6)),
        ("RoPE", rotated.rope(1e6, 0)),
        (
            "ScaledDotProductAttention",
            queries.causal_attention(&keys, &keys, 1.0),
        ),
        ("SwiGLU", stream.swiglu(&stream)),
    ];
    let mut found = Kinds::new();
    for (name, array) in fused {
        let times = if name == "RMSNorm" { 2 } else { 1 };
        layer = without(layer, &kinds(&array.unwrap()), times);
        found.insert(name.to_owned(), times);
    }
    layer.retain(|kind, _| !VIEWS.contains(&kind.as_str()));
    found.extend(layer);
    found
}
