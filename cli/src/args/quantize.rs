//! The arguments of `quantize`.

use std::path::PathBuf;

use clap::Args;
use qwen3_embedding::{Quantization, QuantizationMode};

use super::choice::one_of;
use super::{ModelArgs, ReportFormat};
use crate::failure::Failure;

const MODES: &[(&str, QuantizationMode)] = &[
    ("affine", QuantizationMode::Affine),
    ("mxfp4", QuantizationMode::Mxfp4),
    ("mxfp8", QuantizationMode::Mxfp8),
    ("nvfp4", QuantizationMode::Nvfp4),
];

#[derive(Args)]
#[command(after_help = "\
The directory that is written has the layout of MLX's own tools: model.safetensors, config.json and
the tokenizer. MLX runs it as it is; ONNX Runtime runs the same weights in f32.

Example:
  qwen3-embed quantize --model Qwen/Qwen3-Embedding-0.6B --bits 4 ./Qwen3-Embedding-0.6B-4bit")]
pub(crate) struct QuantizeArgs {
    /// Directory to write, whole or not at all; it must not exist
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Bits of a weight: 2, 3, 4, 5, 6 or 8 [default: 4, with mxfp8 8]
    #[arg(long, value_name = "N")]
    bits: Option<usize>,
    /// Weights that share a scale: 32, 64 or 128 [default: 64, with mxfp4 and mxfp8 32, nvfp4 16]
    #[arg(long, value_name = "N")]
    group_size: Option<usize>,
    /// What codes and scales mean
    #[arg(long, value_parser = one_of(MODES), default_value = "affine")]
    mode: QuantizationMode,
    /// Texts to compare both models on, in place of the built-in ones, as embed reads them
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Layout of the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

impl QuantizeArgs {
    /// The packing, if there is such a one.
    pub(crate) fn packing(&self) -> Result<Quantization, Failure> {
        let (bits, group_size) = self.mode.defaults();
        let bits = self.bits.unwrap_or(bits);
        let group_size = self.group_size.unwrap_or(group_size);
        Quantization::new(self.mode, bits, group_size).ok_or_else(|| {
            let mode = self.mode.name();
            Failure::Usage(format!(
                "'--mode {mode}' cannot be used with {bits} bits in groups of {group_size}"
            ))
        })
    }
}
