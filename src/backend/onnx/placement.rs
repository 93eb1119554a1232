//! Where the nodes of a session run, as the library says while it makes the session.
//!
//! A provider that takes only a part of a graph leaves the rest to the processor without an error,
//! and the library's interface does not tell: its log does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ort::logging::{LogLevel, LoggerFunction};

/// The processor's provider, as the library calls it.
const CPU: &str = "CPUExecutionProvider";

/// Operators that compute with shapes and indices, which ONNX Runtime itself prefers to run on the
/// processor, beside an accelerator. Any other one there is a part of the model.
const BOOKKEEPING: [&str; 14] = [
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Equal",
    "Gather",
    "LessOrEqual",
    "Range",
    "Reshape",
    "Shape",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    "Where",
];

/// Listens to the log of one session.
#[derive(Debug, Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Placement>>);

impl Listener {
    /// Gets every message of the session and hands all but the fine-grained ones to `next`.
    pub(super) fn logger(&self, next: LoggerFunction) -> LoggerFunction {
        let placement = Arc::clone(&self.0);
        Arc::new(move |level, category, id, location, message| {
            if level == LogLevel::Verbose && location.contains("VerifyEachNodeIsAssignedToAnEp") {
                let mut placement = placement.lock().unwrap_or_else(PoisonError::into_inner);
                placement.read(message);
            } else if level >= LogLevel::Warning {
                next(level, category, id, location, message);
            }
        })
    }

    /// What was heard.
    pub(super) fn placement(&self) -> Placement {
        let placement = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        placement.clone()
    }
}

/// The nodes of a session by provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placement {
    /// By the library's name for the provider.
    providers: BTreeMap<String, Nodes>,
    /// The provider whose operators are being listed.
    listed: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Nodes {
    count: usize,
    /// Operators and how many nodes of each; empty where one provider runs everything.
    operators: BTreeMap<String, usize>,
}

impl Placement {
    /// One message: a provider with its number of nodes, or a node of the provider before.
    fn read(&mut self, message: &str) {
        if let Some((provider, count)) = heading(message) {
            self.providers.entry(provider.to_owned()).or_default().count += count;
            self.listed = Some(provider.to_owned());
        } else if let (Some(provider), Some(operator)) = (&self.listed, operator(message)) {
            let nodes = self.providers.entry(provider.clone()).or_default();
            *nodes.operators.entry(operator.to_owned()).or_default() += 1;
        }
    }

    /// Whether `provider` runs the model: it has nodes, and none that compute with weights or
    /// activations run on the processor.
    ///
    /// # Errors
    /// What runs where instead; also where the library did not say, since then nothing is known.
    pub(super) fn check(&self, provider: &str) -> Result<(), String> {
        if self.providers.is_empty() {
            return Err("the library does not say which provider runs the model".to_owned());
        }
        if self.nodes_on(provider) == 0 {
            return Err("it takes no part of the model".to_owned());
        }
        let Some(on_cpu) = self.providers.get(CPU) else {
            return Ok(());
        };
        let bookkeeping = |operator: &String| BOOKKEEPING.contains(&operator.as_str());
        let computing: Vec<String> = on_cpu
            .operators
            .iter()
            .filter(|(operator, _)| !bookkeeping(operator))
            .map(|(operator, count)| format!("{count} {operator}"))
            .collect();
        match computing.as_slice() {
            [] if on_cpu.operators.values().sum::<usize>() == on_cpu.count => Ok(()),
            [] => Err(format!("{} nodes would run on the processor", on_cpu.count)),
            some => Err(format!("{} would run on the processor", some.join(", "))),
        }
    }

    /// How many nodes run on the provider that the library calls so.
    pub(super) fn nodes_on(&self, provider: &str) -> usize {
        self.providers.get(provider).map_or(0, |nodes| nodes.count)
    }
}

/// `Node(s) placed on [P]. Number of nodes: 2`, or `All nodes placed on [P]. ...`.
fn heading(message: &str) -> Option<(&str, usize)> {
    let (before, after) = message.split_once(" placed on [")?;
    let (provider, rest) = after.split_once(']')?;
    let count = rest.rsplit(' ').next()?.parse().ok()?;
    let known = matches!(before.trim(), "Node(s)" | "All nodes");
    known.then_some((provider, count))
}

/// `Operator (name of the node)`.
fn operator(message: &str) -> Option<&str> {
    let (operator, name) = message.trim().split_once(' ')?;
    name.starts_with('(').then_some(operator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(messages: &[&str]) -> Placement {
        let mut placement = Placement::default();
        messages.iter().for_each(|message| placement.read(message));
        placement
    }

    #[test]
    fn a_provider_that_runs_everything_is_bound() {
        let placement = placement(&[
            "Node placements",
            " All nodes placed on [CUDAExecutionProvider]. Number of nodes: 3",
        ]);
        assert_eq!(placement.check("CUDAExecutionProvider"), Ok(()));
        assert_eq!(placement.nodes_on("CUDAExecutionProvider"), 3);
    }

    #[test]
    fn shapes_may_be_computed_on_the_processor_and_weights_may_not() {
        let mut messages = vec![
            "Node placements",
            " Node(s) placed on [CUDAExecutionProvider]. Number of nodes: 1",
            "  MatMul (MatMul_1)",
            " Node(s) placed on [CPUExecutionProvider]. Number of nodes: 1",
            "  Shape (Shape_2)",
        ];
        assert_eq!(placement(&messages).check("CUDAExecutionProvider"), Ok(()));
        messages[3] = " Node(s) placed on [CPUExecutionProvider]. Number of nodes: 3";
        assert_eq!(
            placement(&messages).check("CUDAExecutionProvider"),
            Err("3 nodes would run on the processor".to_owned())
        );
        messages.extend(["  Attention (Attention_3)", "  Attention (Attention_4)"]);
        assert_eq!(
            placement(&messages).check("CUDAExecutionProvider"),
            Err("2 Attention would run on the processor".to_owned())
        );
    }

    #[test]
    fn a_provider_that_took_nothing_or_is_not_mentioned_is_not_bound() {
        let everything = " All nodes placed on [CPUExecutionProvider]. Number of nodes: 3";
        assert_eq!(
            placement(&["Node placements", everything]).check("CUDAExecutionProvider"),
            Err("it takes no part of the model".to_owned())
        );
        assert_eq!(
            placement(&["something else"]).check("CUDAExecutionProvider"),
            Err("the library does not say which provider runs the model".to_owned())
        );
    }
}
