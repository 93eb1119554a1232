//! How many operators a graph has once the functions that its file defines are written out.

use std::collections::BTreeMap;

/// Domain and name.
pub(super) type Key<'a> = (&'a str, &'a str);

/// Functions that call functions; real files have two or three levels.
const MAX_DEPTH: usize = 16;

/// ONNX Runtime writes every call out. The largest real graphs have some ten thousand operators.
const MAX_NODES: u64 = 1_000_000;

/// What stands in a function, or in the graph itself.
#[derive(Debug, Default)]
pub(super) struct Body<'a> {
    pub(super) nodes: u64,
    pub(super) calls: Vec<Key<'a>>,
}

/// Checks that `graph` with its calls written out is of a sensible size.
pub(super) fn check<'a>(
    graph: &Body<'a>,
    functions: &BTreeMap<Key<'a>, Body<'a>>,
) -> Result<(), String> {
    let mut sizes = BTreeMap::new();
    match size(graph, functions, &mut sizes, 0)? {
        0..=MAX_NODES => Ok(()),
        _ => Err(format!("it has more than {MAX_NODES} operators")),
    }
}

/// Each function is counted once, so the count takes no longer than the file.
fn size<'a>(
    body: &Body<'a>,
    functions: &BTreeMap<Key<'a>, Body<'a>>,
    sizes: &mut BTreeMap<Key<'a>, u64>,
    depth: usize,
) -> Result<u64, String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "functions call functions more than {MAX_DEPTH} deep"
        ));
    }
    let mut total = body.nodes;
    for &key in &body.calls {
        let Some(function) = functions.get(&key) else {
            continue;
        };
        let known = sizes.get(&key).copied();
        let called = match known {
            Some(called) => called,
            None => size(function, functions, sizes, depth + 1)?,
        };
        sizes.insert(key, called);
        total = total.saturating_add(called);
    }
    Ok(total)
}
