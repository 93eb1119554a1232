//! One model on one machine: what an earlier start found, or what is measured now.

use super::cache::Cache;
use super::{Choice, Choices, Origin, Tuning, machine};
use crate::backend::BackendInfo;
use crate::cache_dir;
use crate::config::ModelConfig;
use crate::error::Result;

/// Elements of the linear layers below which measuring costs more than it can bring: such a model
/// is loaded in a part of the time.
const LEAST_ELEMENTS: usize = 50_000_000;

/// What measuring gave; `None` where it was not measured, or takes too long here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::backend) struct Outcome {
    pub(in crate::backend) threads: Option<usize>,
    pub(in crate::backend) batch_tokens: Option<usize>,
}

impl Choice {
    fn decided(self, value: Option<usize>, origin: Origin) -> Self {
        match (self.origin, value) {
            (Origin::Default, Some(value)) => Self { value, origin },
            _ => self,
        }
    }
}

impl Choices {
    fn any_open(self) -> bool {
        let open = |choice: Choice| choice.origin == Origin::Default;
        open(self.batch_tokens) || self.threads.is_some_and(open)
    }

    fn decided(self, outcome: Outcome, origin: Origin) -> Self {
        let threads = |choice: Choice| choice.decided(outcome.threads, origin);
        Self {
            threads: self.threads.map(threads),
            batch_tokens: self.batch_tokens.decided(outcome.batch_tokens, origin),
            ..self
        }
    }
}

/// Decides for one model on one machine.
pub(in crate::backend) struct Tuner {
    /// None where nothing is to be measured.
    cache: Option<Cache>,
    /// Whether the machine is.
    pub(super) busy: fn() -> bool,
}

impl Tuner {
    /// Measures nothing.
    #[cfg(any(test, feature = "onnx"))]
    pub(in crate::backend) fn off() -> Self {
        Self {
            cache: None,
            busy: machine::is_busy,
        }
    }

    /// For the model and the backend that `info` names.
    pub(in crate::backend) fn new(
        tuning: &Tuning,
        info: &BackendInfo,
        config: &ModelConfig,
    ) -> Self {
        let dir = match tuning {
            Tuning::Off => None,
            _ if linear_elements(config) < LEAST_ELEMENTS => None,
            Tuning::KeptIn(dir) => Some(dir.clone()),
            Tuning::Auto => cache_dir::tuning(),
        };
        let cache = dir.map(|dir| Cache::new(&dir, key(info, config)));
        Self {
            cache,
            busy: machine::is_busy,
        }
    }

    /// `choices` with what an earlier start found.
    pub(in crate::backend) fn recall(&self, choices: Choices) -> Choices {
        let found = self.cache.as_ref().and_then(Cache::read);
        choices.decided(found.unwrap_or_default(), Origin::Kept)
    }

    /// As [`recall`](Self::recall); what is left open at a first start is measured and kept. A
    /// machine that cannot keep it would measure at each start, so there the defaults stay.
    pub(in crate::backend) fn decide(
        &self,
        choices: Choices,
        measure: impl FnOnce() -> Result<Outcome>,
    ) -> Result<Choices> {
        let Some(cache) = self.cache.as_ref().filter(|_| choices.any_open()) else {
            return Ok(choices);
        };
        if let Some(found) = cache.read() {
            return Ok(choices.decided(found, Origin::Kept));
        }
        if let Err(error) = cache.check_writable() {
            tracing::info!(
                "threads and batches are not measured, since it cannot be kept: {error}"
            );
            return Ok(choices);
        }
        let _span = tracing::debug_span!("tune").entered();
        let outcome = measure()?;
        let decided = choices.decided(outcome, Origin::Measured);
        // On a busy machine the next start may have the time that this one had not.
        if !(decided.any_open() && (self.busy)()) {
            cache.write(outcome);
        }
        tracing::info!(
            ?outcome,
            "threads and batches were measured for this machine"
        );
        Ok(decided)
    }
}

/// Of all layers.
fn linear_elements(config: &ModelConfig) -> usize {
    let attention = 2 * (config.query_size() + config.key_value_size());
    let rows = attention.saturating_add(3 * config.intermediate_size());
    rows.saturating_mul(config.hidden_size())
        .saturating_mul(config.num_hidden_layers())
}

/// All that the figures depend on. What was asked for is a part of it: batches are measured with
/// the threads that will run them.
fn key(info: &BackendInfo, config: &ModelConfig) -> String {
    let asked = |choice: Choice| (choice.origin == Origin::Asked).then_some(choice.value);
    let choices = info.choices;
    format!(
        "{} | {} {} {} {:?} {} | {} | threads {:?}, batch {:?} | {config:?}",
        env!("CARGO_PKG_VERSION"),
        info.backend,
        info.library_version,
        info.device_name,
        info.execution_provider,
        info.precision,
        machine::name(),
        choices.threads.and_then(asked),
        asked(choices.batch_tokens),
    )
}
