//! ONNX Runtime's own profiles: Chrome's trace format, an event for each operation of each run.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::op::{Array, Op};
use crate::failure::Failure;

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    name: String,
    /// Microseconds.
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    args: Args,
}

#[derive(Default, Deserialize)]
struct Args {
    op_name: Option<String>,
    /// For each array an object of one entry: its type and its shape.
    #[serde(default)]
    input_type_shape: Vec<HashMap<String, Vec<u64>>>,
    #[serde(default)]
    output_type_shape: Vec<HashMap<String, Vec<u64>>>,
}

/// The operations of the last `counted` of `forwards` forward passes, from all profiles of the
/// folder.
pub(super) fn read(folder: &Path, forwards: u32, counted: u32) -> Result<Vec<Op>, Failure> {
    let failed = |error| Failure::io(folder.display(), &error);
    let mut ops = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(super::PROFILES) {
            let bytes = fs::read(&path).map_err(failed)?;
            let events: Vec<Event> = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::Runtime(format!("{}: not a profile: {error}", path.display()))
            })?;
            ops.extend(of_session(events, forwards, counted));
        }
    }
    Ok(ops)
}

/// A session runs as often in each forward pass, or only before those that count, as one that is
/// made for what is then kept.
fn of_session(events: Vec<Event>, forwards: u32, counted: u32) -> Vec<Op> {
    let mut runs: Vec<f64> = events
        .iter()
        .filter(|event| event.name == "model_run")
        .map(|event| event.ts)
        .collect();
    runs.sort_by(f64::total_cmp);
    let of_each = runs.len() / forwards as usize;
    let place = runs.len() - of_each * counted as usize;
    let Some(&begin) = runs.get(place) else {
        return Vec::new();
    };
    let events = events.into_iter();
    let events = events.filter(|event| event.cat == "Node" && event.ts >= begin);
    events.filter_map(op).collect()
}

fn op(event: Event) -> Option<Op> {
    let name = event.name.strip_suffix("_kernel_time")?;
    Some(Op {
        layer: layer(name),
        kind: event.args.op_name?,
        ns: event.dur * 1e3,
        inputs: event
            .args
            .input_type_shape
            .iter()
            .filter_map(array)
            .collect(),
        outputs: event
            .args
            .output_type_shape
            .iter()
            .filter_map(array)
            .collect(),
    })
}

fn array(array: &HashMap<String, Vec<u64>>) -> Option<Array> {
    let (element, shape) = array.iter().next()?;
    let element_bytes = match element.as_str() {
        "bool" | "int8" | "uint8" => 1,
        "float16" | "bfloat16" | "int16" | "uint16" => 2,
        "double" | "int64" | "uint64" => 8,
        _ => 4,
    };
    Some(Array {
        shape: shape.clone(),
        element_bytes,
    })
}

/// The number after `layer` or `layers`, as all exporters write it.
fn layer(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once("layer")?;
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    let rest = rest.strip_prefix(['.', '_', '/'])?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_from_names() {
        for (name, expected) in [
            ("layers.12/FusedMatMul_7", Some(12)),
            ("/encoder/layer.3/attention/MatMul", Some(3)),
            ("layers.0/Mul_3/QuickGeluFusion/", Some(0)),
            ("/layernorm/Mul", None),
            ("Gather_1", None),
        ] {
            assert_eq!(layer(name), expected, "{name}");
        }
    }

    #[test]
    fn the_last_runs_count_and_a_session_that_only_began_does_not() {
        let events = |runs: u32| -> Vec<Event> {
            let of = |run: u32| {
                serde_json::json!([
                    {"cat": "Node", "name": "layers.1/MatMul_2_kernel_time", "ts": run * 10 + 1,
                     "dur": run, "args": {"op_name": "MatMul",
                     "input_type_shape": [{"float": [2, 3]}, {"int8": [3, 4]}],
                     "output_type_shape": [{"float": [2, 4]}]}},
                    {"cat": "Session", "name": "model_run", "ts": run * 10, "dur": 9, "args": {}},
                ])
            };
            let all: Vec<_> = (0..runs)
                .flat_map(|run| of(run).as_array().unwrap().clone())
                .collect();
            serde_json::from_value(all.into()).unwrap()
        };
        let ops = of_session(events(6), 3, 2);
        assert_eq!(
            ops.iter().map(|op| op.ns).collect::<Vec<_>>(),
            [2e3, 3e3, 4e3, 5e3]
        );
        assert_eq!(ops[0].layer, Some(1));
        assert_eq!(ops[0].inputs[1].element_bytes, 1);
        assert!(of_session(events(1), 3, 2).is_empty());
    }
}
