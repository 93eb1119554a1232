//! The operations of MLX, as the library tells them at level trace.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{DynFilterFn, dynamic_filter_fn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::op::{Array, Op};

const TARGET: &str = "qwen3_embedding::op";

/// Keeps operations while it listens, which makes them slow; a clone keeps the same ones.
#[derive(Clone, Default)]
pub(super) struct Ops {
    ops: Arc<Mutex<Vec<Op>>>,
    listening: Arc<AtomicBool>,
}

/// A layer's number, in its span.
struct Layered(u64);

impl Ops {
    pub(super) fn listen(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    pub(super) fn take(&self) -> Vec<Op> {
        std::mem::take(&mut self.ops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets operations through while they are listened to.
    pub(super) fn filter<S: Subscriber>(
        &self,
    ) -> DynFilterFn<S, impl Fn(&tracing::Metadata<'_>, &Context<'_, S>) -> bool + use<S>> {
        let listening = Arc::clone(&self.listening);
        dynamic_filter_fn(move |metadata, _| {
            metadata.target() == TARGET && listening.load(Ordering::Relaxed)
        })
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ops {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(index)) = (context.span(id), fields.index) {
            span.extensions_mut().insert(Layered(index));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = context.event_scope(event).into_iter().flatten();
        let layer = spans.find_map(|span| Some(span.extensions().get::<Layered>()?.0));
        let op = fields.op(layer.and_then(|layer| usize::try_from(layer).ok()));
        self.ops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(op);
    }
}

#[derive(Default)]
struct Fields {
    index: Option<u64>,
    op: String,
    ns: u64,
    /// For each input its number of dimensions, then these.
    inputs: Vec<u64>,
    output: Vec<u64>,
    element_bytes: u64,
}

impl Fields {
    fn op(self, layer: Option<usize>) -> Op {
        let array = |shape: &[u64]| Array {
            shape: shape.to_vec(),
            element_bytes: self.element_bytes,
        };
        let mut inputs = Vec::new();
        let mut rest = self.inputs.as_slice();
        while let Some((&dimensions, after)) = rest.split_first() {
            let dimensions =
                usize::try_from(dimensions).map_or(after.len(), |n| n.min(after.len()));
            let (shape, after) = after.split_at(dimensions);
            inputs.push(array(shape));
            rest = after;
        }
        Op {
            outputs: vec![array(&self.output)],
            inputs,
            kind: self.op,
            layer,
            ns: self.ns as f64,
        }
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "index" => self.index = Some(value),
            "ns" => self.ns = value,
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "op" {
            self.op = value.to_owned();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            // A list in Rust's notation is one in JSON's.
            "inputs" => self.inputs = serde_json::from_str(&text).unwrap_or_default(),
            "output" => self.output = serde_json::from_str(&text).unwrap_or_default(),
            "element_type" => {
                self.element_bytes = match text.as_str() {
                    "F16" | "Bf16" => 2,
                    _ => 4,
                }
            }
            _ => {}
        }
    }
}
