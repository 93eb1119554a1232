//! Embedding models in ONNX files made by others: the vectors of their reference, or a typed error.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

#[path = "foreign/batches.rs"]
mod batches;
#[path = "foreign/damage.rs"]
mod damage;
#[path = "foreign/files.rs"]
mod files;
#[path = "foreign/onnx.rs"]
mod onnx;
#[path = "foreign/parity.rs"]
mod parity;
#[path = "foreign/refusals.rs"]
mod refusals;
#[path = "foreign/texts.rs"]
mod texts;
