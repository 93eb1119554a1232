//! How ONNX Runtime uses the processor.

use std::num::NonZeroUsize;

use clap::Args;
use qwen3_embedding::{EmbedderBuilder, Waiting};

#[derive(Args, Clone)]
#[command(next_help_heading = "Processor")]
pub(crate) struct ThreadArgs {
    /// Threads that ONNX Runtime shares one operation among [default: measured at a model's
    /// first start, or one for each physical core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Let those threads spin while they wait, which is faster and keeps cores busy with nothing
    #[arg(long)]
    spin: bool,
    /// Pin the threads beside the calling one to these processors, counted from 0
    #[arg(long, value_name = "CPU,...", value_delimiter = ',')]
    pin_threads: Vec<usize>,
}

impl ThreadArgs {
    #[cfg(feature = "bench")]
    pub(super) fn count(&self) -> Option<usize> {
        self.threads.map(NonZeroUsize::get)
    }

    /// The builder with everything that was asked for.
    pub(crate) fn apply(&self, builder: EmbedderBuilder) -> EmbedderBuilder {
        let builder = builder.pin_threads(self.pin_threads.as_slice());
        let builder = match self.spin {
            true => builder.waiting(Waiting::Spin),
            false => builder,
        };
        match self.threads {
            Some(threads) => builder.threads(threads),
            None => builder,
        }
    }
}
