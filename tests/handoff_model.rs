//! The handoff between callers, tokenizers, the device's thread and the timer under a model
//! checker: whatever the order of their steps, nobody waits for ever and no request is lost.
//!
//! The sources are the crate's own, compiled against the checker's locks and a clock that stands
//! still until a test moves it on.
#![cfg(feature = "service")]
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

#[path = "../src/service/accounts.rs"]
mod accounts;
#[path = "../src/service/batching.rs"]
mod batching;
#[path = "../src/service/handoff.rs"]
mod handoff;
#[path = "../src/service/lanes.rs"]
mod lanes;
#[path = "../src/service/queue.rs"]
mod queue;

mod batch {
    pub use qwen3_embedding::{Row, plan};
}
mod request {
    pub use qwen3_embedding::service::Lane;
}
#[path = "handoff_model/sync.rs"]
mod sync;

use std::time::{Duration, Instant};

use handoff::{Batch, Handoff, Tick};
use queue::{Arrival, Limits, Queue, Refused, Tokens, Work};
use request::Lane;
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::mpsc::{Sender, channel};
use shuttle::thread::{self, JoinHandle};
use sync::{advance, now, stop_clock};

const INTERLEAVINGS: usize = 3000;

/// Told how its request ended; by whom matters not, but once.
type Ticket = Arc<Told>;

#[derive(Clone, Copy)]
enum Reading {
    Works,
    Fails,
}

#[derive(Default)]
struct Told {
    run: AtomicUsize,
    unread: AtomicUsize,
    expired: AtomicUsize,
    cut: AtomicUsize,
}

impl Told {
    fn times(&self) -> usize {
        let counts = [&self.run, &self.unread, &self.expired, &self.cut];
        counts.iter().map(|n| n.load(Ordering::SeqCst)).sum()
    }
}

fn handoff() -> Arc<Handoff<Ticket>> {
    let mut queue = Queue::new(Limits {
        inputs: 100,
        bytes: 100,
        window: Duration::ZERO,
    });
    queue.set_batch_tokens(2);
    Arc::new(Handoff::new(queue))
}

fn arrival(work: Work, deadline: Option<Instant>, ticket: &Ticket) -> Arrival<Ticket> {
    Arrival {
        lane: Lane::Query,
        deadline,
        inputs: 1,
        bytes: 1,
        work,
        ticket: Arc::clone(ticket),
    }
}

/// Two sequences that no other request has.
fn two() -> Vec<Tokens> {
    static IDS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let first = IDS.fetch_add(2, Ordering::SeqCst);
    let tokens = |id| Tokens {
        ids: vec![id],
        prefix: 0,
    };
    vec![tokens(first), tokens(first + 1)]
}

fn texts(ticket: &Ticket) -> Arrival<Ticket> {
    arrival(Work::Tokenise, None, ticket)
}

fn token_ids(ticket: &Ticket) -> Arrival<Ticket> {
    arrival(Work::Run(two()), None, ticket)
}

/// Tokenises, or takes out what it cannot read; as the service does.
fn tokenizer(handoff: &Arc<Handoff<Ticket>>, reading: Reading) -> JoinHandle<()> {
    let handoff = Arc::clone(handoff);
    thread::spawn(move || {
        while let Some((id, ticket)) = handoff.next_texts() {
            match reading {
                Reading::Works => handoff.tokenised(id, two()),
                Reading::Fails => {
                    handoff.remove(id);
                    ticket.unread.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    })
}

/// Runs two sequences of a request, in one batch or two, then tells it; as the service does.
fn device(handoff: &Arc<Handoff<Ticket>>) -> JoinHandle<()> {
    let handoff = Arc::clone(handoff);
    thread::spawn(move || {
        loop {
            match handoff.next_batch() {
                Batch::End => break,
                Batch::Expired(tickets) => {
                    for ticket in tickets {
                        ticket.expired.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Batch::Run(batch) => {
                    for taken in batch.iter().filter(|taken| taken.position == 1) {
                        handoff.remove(taken.request);
                        taken.ticket.run.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
        assert!(handoff.close().is_empty(), "a drained queue holds nothing");
    })
}

fn timer(handoff: &Arc<Handoff<Ticket>>) -> JoinHandle<()> {
    timer_that_tells(handoff, channel().0)
}

/// Sends a message for each request that expires.
fn timer_that_tells(handoff: &Arc<Handoff<Ticket>>, told: Sender<()>) -> JoinHandle<()> {
    let handoff = Arc::clone(handoff);
    thread::spawn(move || {
        loop {
            match handoff.tick() {
                Tick::End => break,
                Tick::Expired(tickets) => {
                    for ticket in tickets {
                        ticket.expired.fetch_add(1, Ordering::SeqCst);
                        // Most tests do not listen.
                        let _ = told.send(());
                    }
                }
                Tick::Cut(tickets) => {
                    for ticket in tickets {
                        ticket.cut.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        }
    })
}

fn pass_two_seconds(handoff: &Handoff<Ticket>) {
    advance(Duration::from_secs(2), |pass| handoff.with(|_| pass()));
}

fn check(body: impl Fn() + Send + Sync + 'static) {
    let from_the_start = move || {
        stop_clock();
        body();
    };
    shuttle::check_random(from_the_start, INTERLEAVINGS);
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

fn far() -> Instant {
    now() + Duration::from_secs(3600)
}

#[test]
fn a_drain_serves_everything_that_was_accepted_before_it() {
    check(|| {
        let handoff = handoff();
        let threads = [
            tokenizer(&handoff, Reading::Works),
            tokenizer(&handoff, Reading::Works),
            device(&handoff),
            timer(&handoff),
        ];
        let callers: Vec<_> = [texts, token_ids, texts]
            .into_iter()
            .map(|ask| {
                let handoff = Arc::clone(&handoff);
                thread::spawn(move || {
                    let told = Ticket::default();
                    match handoff.accept(ask(&told)) {
                        Ok(_) => Some(told),
                        Err(refused) => {
                            assert_eq!(refused, Refused::Closed);
                            None
                        }
                    }
                })
            })
            .collect();
        handoff.drain(far());
        let accepted: Vec<_> = callers.into_iter().map(|c| c.join().unwrap()).collect();
        join(threads);
        for told in accepted.into_iter().flatten() {
            assert_eq!(told.run.load(Ordering::SeqCst), 1);
            assert_eq!(told.times(), 1);
        }
    });
}

#[test]
fn a_caller_that_gives_up_holds_nobody_up() {
    check(|| {
        let handoff = handoff();
        let threads = [
            tokenizer(&handoff, Reading::Works),
            device(&handoff),
            timer(&handoff),
        ];
        let (kept, given_up) = (Ticket::default(), Ticket::default());
        let id = handoff.accept(texts(&given_up)).unwrap();
        handoff.accept(texts(&kept)).unwrap();
        let gives_up = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || handoff.remove(id))
        };
        handoff.drain(far());
        join(threads.into_iter().chain([gives_up]));
        assert_eq!(kept.run.load(Ordering::SeqCst), 1);
        assert!(given_up.times() <= 1);
        assert!(handoff.with(|queue| queue.nothing_waits()));
    });
}

#[test]
fn a_text_that_cannot_be_read_holds_nobody_up() {
    check(|| {
        let handoff = handoff();
        let threads = [
            tokenizer(&handoff, Reading::Fails),
            device(&handoff),
            timer(&handoff),
        ];
        let told = Ticket::default();
        handoff.accept(texts(&told)).unwrap();
        handoff.drain(far());
        join(threads);
        assert_eq!(told.unread.load(Ordering::SeqCst), 1);
        assert_eq!(told.times(), 1);
    });
}

#[test]
fn a_deadline_that_passes_while_nobody_works_is_told_by_the_timer() {
    check(|| {
        let handoff = handoff();
        let (tell, told) = channel();
        let timer = timer_that_tells(&handoff, tell);
        let late = Ticket::default();
        let deadline = now() + Duration::from_secs(1);
        handoff
            .accept(arrival(Work::Tokenise, Some(deadline), &late))
            .unwrap();
        pass_two_seconds(&handoff);
        told.recv().unwrap();
        assert_eq!(late.times(), 1);
        assert!(handoff.close().is_empty());
        join([timer]);
    });
}

#[test]
fn a_deadline_that_passes_lets_a_drain_end() {
    check(|| {
        let handoff = handoff();
        let threads = [device(&handoff), timer(&handoff)];
        let (late, kept) = (Ticket::default(), Ticket::default());
        let deadline = now() + Duration::from_secs(1);
        handoff
            .accept(arrival(Work::Tokenise, Some(deadline), &late))
            .unwrap();
        handoff.accept(token_ids(&kept)).unwrap();
        handoff.drain(far());
        let time = {
            let handoff = Arc::clone(&handoff);
            thread::spawn(move || pass_two_seconds(&handoff))
        };
        join(threads.into_iter().chain([time]));
        assert_eq!(late.expired.load(Ordering::SeqCst), 1);
        assert_eq!((late.times(), kept.times()), (1, 1));
    });
}

#[test]
fn a_limit_that_passed_cuts_what_waits_and_ends_every_thread() {
    check(|| {
        let handoff = handoff();
        let threads = [
            tokenizer(&handoff, Reading::Works),
            device(&handoff),
            timer(&handoff),
        ];
        let told: Vec<Ticket> = (0..3).map(|_| Ticket::default()).collect();
        for (ticket, ask) in told.iter().zip([texts, token_ids, texts]) {
            handoff.accept(ask(ticket)).unwrap();
        }
        handoff.drain(now());
        join(threads);
        // What the device has taken may be told by it and by the cut; the caller hears one.
        assert!(told.iter().all(|ticket| (1..=2).contains(&ticket.times())));
        assert!(
            told.iter()
                .all(|ticket| ticket.expired.load(Ordering::SeqCst) == 0)
        );
    });
}
