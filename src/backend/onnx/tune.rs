//! How many threads and how large batches are worth while, measured with blocks of the model itself.

use std::time::Duration;

use super::block::{Block, Layout};
use super::graph::Form;
use super::maker::Maker;
use super::threads::Threads;
use super::weights::Weights;
use crate::backend::tuning::{self, Choices, Figures, Origin, Outcome};
use crate::error::Result;

/// A short query.
const FEW: Layout = Layout {
    sequences: 1,
    tokens: 16,
};

/// The blocks that a query runs through: weights enough that a processor's caches do not hold them,
/// as they do not hold the model's.
pub(super) const FEW_LAYERS: usize = 2;

/// A small batch.
const MANY: Layout = Layout {
    sequences: 1,
    tokens: tuning::SEQUENCE,
};

/// How long numbers of threads are tried.
const TIME: Duration = Duration::from_millis(500);

/// Blocks for either.
struct Trial<'a> {
    few: Block<'a>,
    many: Block<'a>,
    hidden: usize,
}

impl<'a> Trial<'a> {
    fn new<W: Weights>(
        maker: Maker<'a>,
        threads: &'a Threads,
        weights: &dyn Fn() -> Result<W>,
    ) -> Result<Self> {
        let maker = Maker { threads, ..maker };
        let layers = FEW_LAYERS.min(maker.config.num_hidden_layers());
        Ok(Self {
            few: Block::stack(maker, Form::Whole, 0..layers, weights()?)?,
            many: Block::stack(maker, Form::Whole, 0..1, weights()?)?,
            hidden: maker.config.hidden_size(),
        })
    }

    fn run_few(&mut self) -> Result<()> {
        run(&mut self.few, FEW, self.hidden)
    }

    fn run_many(&mut self, layout: Layout) -> Result<()> {
        run(&mut self.many, layout, self.hidden)
    }
}

fn run(block: &mut Block<'_>, layout: Layout, hidden: usize) -> Result<()> {
    let elements = layout.sequences * layout.tokens * hidden;
    let stream: Vec<f32> = (0..elements).map(|i| (i % 13) as f32 - 6.0).collect();
    block.run(layout, &stream).map(drop)
}

/// Measures what `choices` leaves open. `weights` gives those of the first [`FEW_LAYERS`] blocks;
/// the threads of `maker` are the default.
pub(super) fn measure<W: Weights>(
    maker: Maker<'_>,
    choices: Choices,
    weights: &dyn Fn() -> Result<W>,
) -> Result<Outcome> {
    let open = choices
        .threads
        .is_some_and(|choice| choice.origin == Origin::Default);
    let counts = match open {
        true => maker.threads.candidates(),
        false => vec![maker.threads.count],
    };
    let pools = counts.iter().map(|&count| maker.threads.with_count(count));
    let pools: Vec<Threads> = pools.collect();
    let trials = pools.iter().map(|pool| Trial::new(maker, pool, weights));
    let mut trials = trials.collect::<Result<Vec<_>>>()?;
    let threads = match counts.len() {
        1 => None,
        _ => fastest(&counts, &mut trials)?,
    };
    let chosen = counts.iter().position(|&count| Some(count) == threads);
    let mut trial = trials.swap_remove(chosen.unwrap_or_default());
    drop(trials);
    let batch_tokens = match choices.batch_tokens.origin {
        Origin::Default => {
            let default = choices.batch_tokens.value;
            tuning::batch_tokens(default, |tokens| {
                trial.run_many(Layout {
                    sequences: tokens / tuning::SEQUENCE,
                    ..MANY
                })
            })?
        }
        _ => None,
    };
    Ok(Outcome {
        threads,
        batch_tokens,
    })
}

/// The number of threads that is fastest for a query and a batch. `None` where the time is too short
/// to say.
fn fastest(counts: &[usize], trials: &mut [Trial<'_>]) -> Result<Option<usize>> {
    let times = tuning::least_times(2 * counts.len(), TIME, |i| {
        let trial = &mut trials[i / 2];
        match i % 2 {
            0 => trial.run_few(),
            _ => trial.run_many(MANY),
        }
    })?;
    let figures = |times: Vec<Duration>| -> Vec<Figures> {
        let pairs = counts.iter().zip(times.chunks_exact(2));
        let figures = pairs.map(|(&threads, times)| Figures {
            threads,
            few: times[0],
            many: times[1],
        });
        figures.collect()
    };
    Ok(times.and_then(|times| {
        let figures = figures(times);
        tracing::debug!(?figures, "threads");
        tuning::threads(&figures)
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::backend::execution_provider::ExecutionProvider;
    use crate::backend::onnx::int8::Int8;
    use crate::backend::onnx::providers::Provider;
    use crate::backend::onnx::weights::FloatWeights;
    use crate::backend::onnx::{Options, library};
    use crate::backend::tuning::Choice;
    use crate::backend::{DeviceKind, Precision};
    use crate::checkpoint::Checkpoint;
    use crate::config::ModelConfig;
    use crate::dtype::Dtype;

    #[test]
    fn what_is_open_is_measured_in_f32_and_in_int8_and_the_rest_is_not() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
        let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
        let checkpoint = Checkpoint::open(&dir, &config).unwrap();
        let options = Options::default();
        let provider = Provider::new(ExecutionProvider::Cpu, Dtype::F32, &options);
        let threads = Threads::of(&options).unwrap();
        let maker = Maker {
            library: library::load(None).unwrap(),
            config: &config,
            provider: &provider,
            threads: &threads,
        };
        let open = Choice::new(None, threads.count);
        let choices = Choices::new(DeviceKind::Cpu, Precision::Auto, Some(open));
        let mut asked = choices;
        asked.threads = Some(Choice::new(Some(1), 1));
        asked.batch_tokens = Choice::new(Some(1), 1);
        // A busy machine may leave either open.
        let sensible = |outcome: Outcome| {
            let threads = outcome.threads;
            let count = maker.threads.candidates();
            assert!(threads.is_none_or(|n| count.contains(&n)), "{outcome:?}");
            let tokens = outcome.batch_tokens;
            let tokens = tokens.is_none_or(|n| (512..=4096).contains(&n));
            assert!(tokens, "{outcome:?}");
        };

        let weights = FloatWeights::shared(&checkpoint, Dtype::F32).unwrap();
        sensible(measure(maker, choices, &|| Ok(&weights)).unwrap());
        let nothing = measure(maker, asked, &|| Ok(&weights)).unwrap();
        assert_eq!(nothing, Outcome::default());

        // No directory can be made below a file: nothing is kept.
        let nowhere = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml/quantized");
        let int8 = Int8::load(&checkpoint, maker, Some(nowhere)).unwrap();
        let weights = || Ok(int8.store.clone());
        sensible(measure(maker, choices, &weights).unwrap());
    }
}
