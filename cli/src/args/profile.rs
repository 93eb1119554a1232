//! The arguments of `profile`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;

#[derive(Args)]
#[command(after_help = "\
Operations of ONNX Runtime are timed by its own profile; those of MLX by evaluating one after the
other, which takes longer than the whole does at once. FLOPs are counted for products and attention,
bytes as each operation's inputs and outputs. The roofline is the least time that the machine's
memory and products, measured before, allow for both; arrays that stay in a cache pass it.

--out DIR keeps trace.json, the request's path in Chrome's trace format (for ui.perfetto.dev), and
ONNX Runtime's own profiles, onnxruntime-*.json. --gpu-trace FILE needs Metal, and MTL_CAPTURE_ENABLED=1
in the environment.

Examples:
  qwen3-embed profile --model DIR --precision int8 --batch 8 --length 256 --out profile
  MTL_CAPTURE_ENABLED=1 qwen3-embed profile --model DIR --gpu-trace forward.gputrace")]
pub(crate) struct ProfileArgs {
    /// Texts of a forward pass
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch: NonZeroUsize,
    /// Tokens of each text
    #[arg(long, value_name = "N", default_value = "128")]
    pub(crate) length: NonZeroUsize,
    /// Forward passes to take the mean of, after one that is not counted
    #[arg(long, value_name = "N", default_value = "5")]
    pub(crate) runs: NonZeroU32,
    /// Folder to keep the traces in; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Record what Metal runs in one forward pass, for Xcode
    #[arg(long, value_name = "FILE")]
    pub(crate) gpu_trace: Option<PathBuf>,
    /// One JSON object, in place of the tables
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}
