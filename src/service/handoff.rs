//! The one lock between callers, tokenizers, the device's thread and the timer.
//!
//! The queue does the work; this file waits and wakes. The longest thing that is done under the
//! lock is to plan batches of what waits.

use std::time::Instant;

use super::queue::{Arrival, Id, Next, Queue, Refused, Taken, Tokens, Work};
use super::request::Lane;
use super::sync::{Condvar, Mutex, MutexGuard, now};

/// What the thread of the device does next.
pub(crate) enum Batch<K> {
    /// Runs these.
    Run(Vec<Taken<K>>),
    /// Tells these that their deadline passed.
    Expired(Vec<K>),
    /// Ends: nothing waits and nothing will come, or the limit of the shutdown passed.
    End,
}

/// What the timer does next.
pub(crate) enum Tick<K> {
    /// Tells these that their deadline passed.
    Expired(Vec<K>),
    /// Tells these that the service ended before their turn. Comes once, at the limit.
    Cut(Vec<K>),
    /// Ends.
    End,
}

/// Whether the service goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// No more requests; those accepted are served until then.
    Draining(Instant),
    /// Nothing more happens.
    Closed,
}

/// A queue that many threads share.
pub(crate) struct Handoff<K> {
    state: Mutex<State<K>>,
    texts: Condvar,
    device: Condvar,
    timer: Condvar,
}

struct State<K> {
    queue: Queue<K>,
    phase: Phase,
}

impl<K: Clone> Handoff<K> {
    pub(crate) fn new(queue: Queue<K>) -> Self {
        let phase = Phase::Open;
        Self {
            state: Mutex::new(State { queue, phase }),
            texts: Condvar::new(),
            device: Condvar::new(),
            timer: Condvar::new(),
        }
    }

    /// Looks at or changes the queue without waking anyone.
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut Queue<K>) -> R) -> R {
        body(&mut self.lock().queue)
    }

    /// A caller hands in a request.
    pub(crate) fn accept(&self, arrival: Arrival<K>) -> Result<Id, Refused> {
        let next = match arrival.work {
            Work::Tokenise => &self.texts,
            Work::Run(_) => &self.device,
        };
        let mut state = self.lock();
        let sooner = arrival.deadline.is_some_and(|deadline| {
            let first = state.queue.next_deadline();
            first.is_none_or(|first| deadline < first)
        });
        let id = state.queue.accept(arrival)?;
        drop(state);
        next.notify_one();
        if sooner {
            self.timer.notify_one();
        }
        Ok(id)
    }

    /// A caller has its answer or gives up.
    pub(crate) fn remove(&self, id: Id) {
        let mut state = self.lock();
        state.queue.remove(id);
        let drained = state.drained();
        drop(state);
        if drained {
            self.device.notify_one();
        }
    }

    /// A tokenizer waits for the next request; none is the end.
    pub(crate) fn next_texts(&self) -> Option<(Id, K)> {
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Closed {
                return None;
            }
            if let Some(next) = state.queue.next_texts() {
                return Some(next);
            }
            state = wait(&self.texts, state, None);
        }
    }

    /// A tokenizer hands on its result.
    pub(crate) fn tokenised(&self, id: Id, sequences: Vec<Tokens>) {
        self.lock().queue.tokenised(id, sequences);
        self.device.notify_one();
    }

    /// The device's thread waits for the next batch.
    pub(crate) fn next_batch(&self) -> Batch<K> {
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Closed {
                return Batch::End;
            }
            let time = now();
            let expired = state.queue.expire(time);
            if !expired.is_empty() {
                return Batch::Expired(expired);
            }
            state = match state.queue.next_batch(time) {
                Next::Run(batch) => return Batch::Run(batch),
                Next::Hold(until) => wait(&self.device, state, Some(until)),
                Next::Idle if state.drained() => return Batch::End,
                Next::Idle => wait(&self.device, state, None),
            };
        }
    }

    /// The device's thread does nothing until then. Whether the service goes on.
    pub(crate) fn pause(&self, until: Instant) -> bool {
        let mut state = self.lock();
        while state.phase == Phase::Open && now() < until {
            state = wait(&self.device, state, Some(until));
        }
        state.phase == Phase::Open
    }

    /// The timer waits for the next thing that happens by itself.
    pub(crate) fn tick(&self) -> Tick<K> {
        let mut state = self.lock();
        loop {
            let time = now();
            let limit = match state.phase {
                Phase::Closed => return Tick::End,
                Phase::Draining(limit) if time >= limit => {
                    state.phase = Phase::Closed;
                    let cut = state.queue.clear();
                    drop(state);
                    self.wake_all();
                    return Tick::Cut(cut);
                }
                Phase::Draining(limit) => Some(limit),
                Phase::Open => None,
            };
            let expired = state.queue.expire(time);
            if !expired.is_empty() {
                if state.drained() {
                    self.device.notify_one();
                }
                return Tick::Expired(expired);
            }
            let deadline = state.queue.next_deadline();
            let next = limit.into_iter().chain(deadline).min();
            state = wait(&self.timer, state, next);
        }
    }

    /// Accepts no more, and ends when nothing waits any more or at `limit`; a sooner limit counts.
    pub(crate) fn drain(&self, limit: Instant) {
        let mut state = self.lock();
        state.queue.shut();
        state.phase = match state.phase {
            Phase::Open => Phase::Draining(limit),
            Phase::Draining(earlier) => Phase::Draining(earlier.min(limit)),
            Phase::Closed => Phase::Closed,
        };
        drop(state);
        self.wake_all();
    }

    /// Ends now. What was still accepted is returned to be told so.
    pub(crate) fn close(&self) -> Vec<K> {
        let mut state = self.lock();
        state.queue.shut();
        state.phase = Phase::Closed;
        let cut = state.queue.clear();
        drop(state);
        self.wake_all();
        cut
    }

    /// What waits in a lane: requests without tokens, sequences, their tokens.
    pub(crate) fn waiting(&self, lane: Lane) -> (usize, usize, usize) {
        let state = self.lock();
        let sequences = state.queue.sequences(lane);
        (
            state.queue.untokenised(lane),
            sequences.len(),
            sequences.sum(),
        )
    }

    fn wake_all(&self) {
        self.texts.notify_all();
        self.device.notify_all();
        self.timer.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing panics under the lock; were it so, the queue would still hold no half-done step
        // that could mix up two requests.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<K: Clone> State<K> {
    fn drained(&self) -> bool {
        self.phase != Phase::Open && self.queue.nothing_waits()
    }
}

fn wait<'a, K>(
    condvar: &Condvar,
    state: MutexGuard<'a, State<K>>,
    until: Option<Instant>,
) -> MutexGuard<'a, State<K>> {
    match until {
        None => condvar.wait(state).unwrap_or_else(|e| e.into_inner()),
        Some(until) => {
            let time = until.saturating_duration_since(now());
            let (state, _) = condvar
                .wait_timeout(state, time)
                .unwrap_or_else(|e| e.into_inner());
            state
        }
    }
}
