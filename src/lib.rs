//! Qwen3-Embedding vectors in the caller's process: the right vector or a typed error.
//!
//! ```no_run
//! use qwen3_embedding::{EmbedOptions, Embedder, Prompt};
//!
//! # fn main() -> qwen3_embedding::Result<()> {
//! let mut embedder = Embedder::from_dir("models/tiny").build()?;
//! let documents = embedder.embed(
//!     &["The capital of China is Beijing.", "Gravity pulls bodies together."],
//!     &EmbedOptions::default(),
//! )?;
//! let query = embedder.embed(
//!     &["What is the capital of China?"],
//!     &EmbedOptions::default().prompt(Prompt::Query),
//! )?;
//! for document in documents.iter() {
//!     let score: f32 = document.iter().zip(query.data()).map(|(d, q)| d * q).sum();
//!     println!("{score:.4}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One path leads from text to vector: [`Prompt`] and text become token ids that end in exactly
//! one EOS; sequences of similar length become right-padded [`TokenBatch`]es; a [`Backend`] runs
//! each and returns the last token's final-normed row; the row is cut to the dimensions asked
//! for, checked to be finite and normalised. [`Embedder`] is that path.
//!
//! # Features
//! - `mlx` (default): the MLX backend; needs a C++20 compiler.
//! - `onnx` (default): the ONNX Runtime backend; loads its library at run time.
//! - `mlx-cuda`: links the CUDA build of MLX on Linux.
//! - `hub` (default): models by id, downloaded into the standard Hugging Face cache.
//! - `service` (default): [`service::Service`], for concurrent callers from any async runtime, and
//!   [`provider`], the trait by which a vector database imports it.
//!
//! # Where the time goes
//! Spans of [`tracing`] at level debug, with the target `qwen3_embedding` and what lies below it,
//! tell. While a model loads: `map` (its files opened and checked), `tokenizer`, `library` (the
//! native one), `convert` (weights read, converted, fused), `build` (the native library's graphs),
//! at a first start `tune` ([`Tuning`]), and `identify`. For each call: `tokenise`, `plan`, `forward` with the fields `rows`, `width` and
//! `tokens`, and `finish`; within `forward` a `pass` for each run of the native library, whose
//! `rows` times `width` are the tokens that were computed. With MLX a `pass` ends when the device has
//! its work, and `wait` is the time until its rows are there; the `pass` of the next batch of a call
//! comes before that. Where nobody listens they cost next to nothing.
//!
//! At level trace the MLX backend evaluates each operation by itself, which is slow, and tells its
//! time: events with the fields `op`, `inputs` (for each its number of dimensions, then these), `output`,
//! `element_type` and `ns`, of the target
//! `qwen3_embedding::op`, within spans `layer` of the same target with the field `index`.

#[cfg(target_endian = "big")]
compile_error!("checkpoints are little-endian and are copied as they are");

mod backend;
mod batch;
#[cfg(any(feature = "mlx", feature = "onnx"))]
mod cache_dir;
mod checkpoint;
mod config;
mod dtype;
mod embedder;
mod error;
mod file;
mod fingerprint;
#[cfg(feature = "hub")]
mod hub;
mod json;
mod model;
mod modules;
mod onnx_file;
mod options;
mod prompt;
#[cfg(feature = "service")]
pub mod provider;
mod quantization;
#[cfg(feature = "mlx")]
mod quantize;
#[cfg(feature = "service")]
pub mod service;
mod tokenizer;
mod vector;

#[cfg(feature = "onnx")]
pub use backend::Waiting;
pub use backend::execution_provider::ExecutionProvider;
pub use backend::tuning::{Choice, Choices, Origin, Tuning};
pub use backend::{
    Backend, BackendChoice, BackendInfo, Device, DeviceKind, HiddenRows, MemoryUse, Peaks,
    Precision, Work,
};
pub use batch::{Row, TokenBatch, plan};
pub use checkpoint::{Checkpoint, Tensor};
pub use config::ModelConfig;
pub use dtype::Dtype;
pub use embedder::{Embedder, EmbedderBuilder};
pub use error::{Error, Result};
pub use fingerprint::{Fingerprint, Space};
#[cfg(feature = "hub")]
pub use hub::{Hub, Network, Progress, Snapshot};
pub use model::{EmbeddingConfig, Pooling};
pub use onnx_file::OnnxModel;
pub use options::EmbedOptions;
pub use prompt::{DEFAULT_TASK, Prompt};
pub use quantization::{Quantization, QuantizationMode};
#[cfg(feature = "mlx")]
pub use quantize::quantize;
pub use tokenizer::{SpecialTokens, Truncation};
pub use vector::{Embeddings, Normalization};

/// The README's programs compile.
#[cfg(all(doctest, feature = "hub", feature = "service"))]
#[doc = include_str!("../README.md")]
struct Readme;
