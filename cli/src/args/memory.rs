//! What is kept in memory beside the weights.

use clap::Args;
use qwen3_embedding::EmbedderBuilder;

#[derive(Args, Clone)]
#[command(next_help_heading = "Memory")]
pub(crate) struct MemoryArgs {
    /// Bytes of keys and values of prompts that are kept; 0 keeps none [default: 67108864]
    #[arg(long, value_name = "N")]
    prefix_cache_bytes: Option<usize>,
    /// Bytes of freed memory that MLX keeps on a GPU [default: a 32nd of the device's working set]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "N")]
    mlx_cache_bytes: Option<usize>,
    /// Bytes that MLX keeps macOS from swapping out [default: the device's working set]
    #[cfg(feature = "mlx")]
    #[arg(long, value_name = "N")]
    mlx_wired_bytes: Option<usize>,
}

impl MemoryArgs {
    /// The builder with everything that was asked for.
    pub(crate) fn apply(&self, mut builder: EmbedderBuilder) -> EmbedderBuilder {
        if let Some(bytes) = self.prefix_cache_bytes {
            builder = builder.prefix_cache_bytes(bytes);
        }
        #[cfg(feature = "mlx")]
        {
            if let Some(bytes) = self.mlx_cache_bytes {
                builder = builder.mlx_cache_bytes(bytes);
            }
            if let Some(bytes) = self.mlx_wired_bytes {
                builder = builder.mlx_wired_bytes(bytes);
            }
        }
        builder
    }
}
