//! What is begun before it is asked for: in which order, in which memory, and with which rows.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::admission_tests::{TURN, with_bytes_left};
use super::{Limits, Mlx};
use crate::backend::tuning::Tuner;
use crate::backend::{Backend, Device, HiddenRows, Precision};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;

fn tiny() -> Mlx {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&dir, &config).unwrap();
    let info = super::probe(Device::Cpu, Precision::F32).unwrap();
    let tuner = Tuner::off();
    Mlx::load(
        info,
        &config,
        &checkpoint,
        1 << 20,
        Limits::default(),
        &tuner,
    )
    .unwrap()
}

/// Four sequences of `width` tokens, of which all begin with the same five.
fn batch(width: u32) -> TokenBatch {
    let id = |row: u32, token: u32| match token {
        ..5 => token,
        _ => (row * 131 + token * 17) % 1600,
    };
    let sequences: Vec<Vec<u32>> = (0..4)
        .map(|row| (0..width).map(|token| id(row, token)).collect())
        .collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    TokenBatch::new(&sequences, 12_288).unwrap()
}

/// Runs the batches in turn, each with word of the next.
fn run_all(model: &mut Mlx, batches: &[TokenBatch]) -> Vec<HiddenRows> {
    let nexts = batches.iter().skip(1).map(Some).chain([None]);
    let runs = batches.iter().zip(nexts);
    runs.map(|(batch, next)| model.forward_with_next(batch, next).unwrap())
        .collect()
}

/// The names of the spans `graph` and `wait` as they are entered.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Order {
    fn of(work: impl FnOnce()) -> Vec<&'static str> {
        let order = Self::default();
        tracing::subscriber::with_default(order.clone(), work);
        std::mem::take(&mut *order.0.lock().unwrap())
    }
}

impl Subscriber for Order {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && ["graph", "wait"].contains(&metadata.name())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // Each is entered where it is made.
        self.0.lock().unwrap().push(span.metadata().name());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_next_batch_is_begun_before_this_one_is_waited_for() {
    let _turn = TURN.lock();
    let mut model = tiny();
    let batches = [batch(30), batch(20).with_prefix(5), batch(10)];
    let alone = batches
        .each_ref()
        .map(|batch| model.forward(batch).unwrap());
    let before = model.work();
    let mut together = Vec::new();
    let order = Order::of(|| together = run_all(&mut model, &batches));
    assert_eq!(order, ["graph", "graph", "wait", "graph", "wait", "wait"]);
    // The same graphs over the same shapes.
    assert_eq!(together, alone);
    let computed = model.work().computed_tokens - before.computed_tokens;
    assert_eq!(computed, 4 * (30 + 15 + 10));
}

#[test]
fn a_batch_that_does_not_fit_beside_this_one_waits_for_its_turn() {
    let _turn = TURN.lock();
    let mut model = tiny();
    let batches = [batch(20), batch(20), batch(20)];
    let alone = model.forward(&batches[0]).unwrap();
    let mut together = Vec::new();
    // Four sequences of 20 tokens need about 1.1 MB.
    let order = with_bytes_left(1_500_000, || {
        Order::of(|| together = run_all(&mut model, &batches))
    });
    assert_eq!(order, ["graph", "wait", "graph", "wait", "graph", "wait"]);
    for rows in together {
        assert_eq!(rows, alone);
    }
}

#[test]
fn what_comes_in_between_neither_loses_nor_changes_what_was_begun() {
    let _turn = TURN.lock();
    let mut model = tiny();
    let [first, second, third] = [batch(30), batch(20), batch(10)];
    let alone = [&first, &second, &third].map(|batch| model.forward(batch).unwrap());
    let before = model.work();
    let mut rows = Vec::new();
    let order = Order::of(|| {
        rows.push(model.forward_with_next(&first, Some(&second)).unwrap());
        rows.push(model.forward_f32(&third).unwrap());
        rows.push(model.forward(&second).unwrap());
    });
    assert_eq!(
        order,
        ["graph", "graph", "wait", "wait", "graph", "wait", "wait"]
    );
    assert_eq!(rows[0], alone[0]);
    assert_eq!(rows[1], alone[2]);
    assert_eq!(rows[2], alone[1]);
    let computed = model.work().computed_tokens - before.computed_tokens;
    assert_eq!(computed, 4 * (30 + 10 + 20));
}

#[test]
fn too_large_a_batch_is_refused_in_its_own_turn() {
    let _turn = TURN.lock();
    let mut model = tiny();
    let [small, large] = [batch(20), batch(400)];
    let alone = model.forward(&small).unwrap();
    with_bytes_left(1_500_000, || {
        let rows = model.forward_with_next(&small, Some(&large)).unwrap();
        assert_eq!(rows, alone);
        let error = model.forward_with_next(&large, Some(&small)).unwrap_err();
        let text = error.to_string();
        let expected = "400 tokens in 1 sequences are too many for MLX: about ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(model.forward(&small).unwrap(), alone);
    });
}

#[test]
fn an_operation_that_fails_ahead_leaves_nothing_that_could_be_wrong() {
    let _turn = TURN.lock();
    let mut model = tiny();
    // A batch for a larger table: the gather refuses it, as a failing operation would.
    let foreign = TokenBatch::new(&[&[1, 15_000]], 16_000).unwrap();
    assert_eq!(
        model
            .forward_with_next(&batch(20), Some(&foreign))
            .unwrap_err()
            .to_string(),
        "MLX: take: index 15000 of 12288 rows"
    );
    assert_eq!(
        model.forward(&batch(20)).unwrap_err().to_string(),
        "MLX: forward: an earlier operation failed; load the model anew"
    );
}
