//! A backend for tests: deterministic, slow on command, and able to fail in every way.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::thread::{self, ThreadId};

use crate::backend::tuning::{Choice, Choices};
use crate::backend::{Backend, BackendInfo, DeviceKind, HiddenRows, MemoryUse, Precision, Work};
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::embedder::Embedder;
use crate::error::{Error, Result};

/// A sequence that holds this fails its batch as a native library would.
pub(super) const FAILS: u32 = 1000;
/// A sequence that holds this panics.
pub(super) const PANICS: u32 = 1001;
/// A sequence that holds this has no finite vector, in no precision.
pub(super) const NAN: u32 = 1002;
/// A sequence that holds this has a finite vector only in f32.
pub(super) const NAN_UNLESS_F32: u32 = 1003;
/// A sequence that holds this is refused as too large, and any batch with it.
pub(super) const TOO_LARGE: u32 = 1004;

/// Elements of a row: the built-in model's.
pub(super) static HIDDEN: LazyLock<usize> = LazyLock::new(|| {
    let config = ModelConfig::from_file(&tiny().join("config.json"));
    config.unwrap().hidden_size()
});

/// What the tests see of the device, and the gate before it.
#[derive(Default)]
pub(super) struct Device {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    shut: bool,
    /// Batches that stand before the gate or are past it.
    begun: usize,
    batches: Vec<Vec<Vec<u32>>>,
    threads: Vec<ThreadId>,
    drops: usize,
}

impl Device {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The model over this device; its tokenizer is the built-in model's.
    pub(super) fn embedder(self: &Arc<Self>, max_batch_tokens: usize) -> Result<Embedder> {
        self.embedder_from(&tiny(), max_batch_tokens)
    }

    /// As [`embedder`](Self::embedder), with the files of another directory.
    pub(super) fn embedder_from(
        self: &Arc<Self>,
        dir: &Path,
        max_batch_tokens: usize,
    ) -> Result<Embedder> {
        let device = Arc::clone(self);
        Embedder::from_dir(dir).build_over(move |config, _| {
            device.note_thread();
            Ok(Box::new(Fake {
                device,
                info: info(max_batch_tokens),
                work: Work::default(),
                hidden: config.hidden_size(),
            }))
        })
    }

    /// Batches wait before the gate from now on.
    pub(super) fn shut_gate(&self) {
        self.state.lock().unwrap().shut = true;
    }

    pub(super) fn open_gate(&self) {
        self.state.lock().unwrap().shut = false;
        self.changed.notify_all();
    }

    /// Blocks until `count` batches have begun.
    pub(super) fn wait_begun(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |s| s.begun < count).unwrap());
    }

    /// Blocks until `count` models were dropped.
    pub(super) fn wait_dropped(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |s| s.drops < count).unwrap());
    }

    /// The sequences of every batch that ran or failed.
    pub(super) fn batches(&self) -> Vec<Vec<Vec<u32>>> {
        self.state.lock().unwrap().batches.clone()
    }

    /// Every thread that built, ran or dropped a model.
    pub(super) fn threads(&self) -> Vec<ThreadId> {
        let mut threads = self.state.lock().unwrap().threads.clone();
        threads.dedup();
        threads
    }

    fn note_thread(&self) {
        self.state
            .lock()
            .unwrap()
            .threads
            .push(thread::current().id());
    }

    fn begin(&self, batch: &TokenBatch) {
        self.note_thread();
        let mut state = self.state.lock().unwrap();
        state.begun += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |s| s.shut).unwrap();
        state.batches.push(sequences(batch));
    }
}

struct Fake {
    device: Arc<Device>,
    info: BackendInfo,
    work: Work,
    hidden: usize,
}

impl Backend for Fake {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        self.device.begin(batch);
        let sequences = sequences(batch);
        let holds = |id| sequences.iter().any(|ids| ids.contains(&id));
        if holds(FAILS) {
            return Err(Error::Backend {
                backend: "fake",
                op: "forward".to_owned(),
                message: "as it was told".to_owned(),
            });
        }
        assert!(!holds(PANICS), "as it was told");
        if holds(TOO_LARGE) {
            return Err(Error::BatchTooLarge {
                backend: "fake",
                rows: batch.rows(),
                tokens: batch.width(),
                reason: "as it was told".to_owned(),
            });
        }
        self.work.ran(batch);
        Ok(self.rows(&sequences, &[NAN, NAN_UNLESS_F32]))
    }

    fn forward_f32(&mut self, batch: &TokenBatch) -> Result<HiddenRows> {
        Ok(self.rows(&sequences(batch), &[NAN]))
    }

    fn memory(&self) -> Result<MemoryUse> {
        Ok(MemoryUse {
            active: 7,
            cached: None,
            peak: None,
        })
    }

    fn work(&self) -> Work {
        self.work
    }
}

impl Fake {
    fn rows(&self, sequences: &[Vec<u32>], bad: &[u32]) -> HiddenRows {
        let rows = sequences.iter().flat_map(|ids| {
            let bad = ids.iter().any(|id| bad.contains(id));
            let mut row = row(ids, self.hidden);
            if bad {
                row[0] = f32::NAN;
            }
            row
        });
        HiddenRows {
            data: rows.collect(),
            hidden: self.hidden,
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.device.note_thread();
        self.device.state.lock().unwrap().drops += 1;
        self.device.changed.notify_all();
    }
}

/// The pooled row of a sequence: no two sequences of small ids have the same.
pub(super) fn row(ids: &[u32], hidden: usize) -> Vec<f32> {
    let values = ids.iter().map(|&id| id as f32 + 1.0);
    let values = values.chain(std::iter::repeat(0.5));
    values.take(hidden).collect()
}

fn sequences(batch: &TokenBatch) -> Vec<Vec<u32>> {
    let rows = batch.ids().chunks_exact(batch.width());
    let rows = rows.zip(batch.lengths());
    rows.map(|(row, &length)| row[..length].to_vec()).collect()
}

/// The built-in model.
pub(super) fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny")
}

fn info(max_batch_tokens: usize) -> BackendInfo {
    BackendInfo {
        backend: "fake",
        device: DeviceKind::Cpu,
        execution_provider: None,
        device_name: String::new(),
        precision: Dtype::F32,
        choices: Choices {
            batch_tokens: Choice::new(Some(max_batch_tokens), 0),
            ..Choices::new(DeviceKind::Cpu, Precision::Auto, None)
        },
        library_version: String::new(),
        library_path: String::new(),
        reason: "a test".to_owned(),
        fallback: None,
    }
}
