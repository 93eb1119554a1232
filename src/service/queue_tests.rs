//! The queue under random arrivals: nothing is lost, doubled, starved or run past its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::lanes::QUERY_TURNS;
use super::queue::{Arrival, Id, Limits, Next, Queue, Refused, Taken, Tokens, Work};
use super::request::Lane;

const BATCH_TOKENS: usize = 64;
const WINDOW: Duration = Duration::from_millis(5);

/// The ticket of a test is the request's own number.
type Number = u32;

#[derive(Debug, Clone)]
enum Event {
    /// A request, with the lengths of its sequences and the milliseconds until its deadline.
    Arrive {
        lane: Lane,
        lengths: Vec<usize>,
        deadline: Option<u64>,
        tokenised: bool,
    },
    /// A tokenizer takes a request.
    TakeTexts,
    /// The tokenizer that has had a request longest is done.
    Tokenised,
    /// The device asks for work, and has it done at once.
    Batch,
    /// One of the accepted requests, counted from the oldest, is given up.
    Cancel(usize),
    /// Milliseconds pass.
    Wait(u64),
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Query), Just(Lane::Bulk)]
}

fn event() -> impl Strategy<Value = Event> {
    let lengths = prop::collection::vec(1usize..80, 1..6);
    let arrive = (lane(), lengths, prop::option::of(0u64..30), any::<bool>());
    prop_oneof![
        4 => arrive.prop_map(|(lane, lengths, deadline, tokenised)| Event::Arrive {
            lane, lengths, deadline, tokenised,
        }),
        3 => Just(Event::TakeTexts),
        3 => Just(Event::Tokenised),
        4 => Just(Event::Batch),
        1 => (0usize..8).prop_map(Event::Cancel),
        2 => (0u64..10).prop_map(Event::Wait),
    ]
}

fn limits() -> Limits {
    Limits {
        inputs: 24,
        bytes: 400,
        window: WINDOW,
    }
}

/// What a request is known to be from outside.
#[derive(Debug, Clone)]
struct Known {
    id: Id,
    lane: Lane,
    lengths: Vec<usize>,
    deadline: Option<Instant>,
    /// Positions that the device took.
    taken: BTreeSet<usize>,
}

/// The queue beside a plain record of what it must do.
struct Model {
    queue: Queue<Number>,
    now: Instant,
    open: BTreeMap<Number, Known>,
    tokenising: Vec<(Id, Number)>,
    numbers: Number,
    /// Turns of queries in a row while bulk waited.
    query_turns: u32,
}

impl Model {
    fn new() -> Self {
        let mut queue = Queue::new(limits());
        queue.set_batch_tokens(BATCH_TOKENS);
        Self {
            queue,
            now: Instant::now(),
            open: BTreeMap::new(),
            tokenising: Vec::new(),
            numbers: 0,
            query_turns: 0,
        }
    }

    fn inputs(&self) -> usize {
        self.open.values().map(|known| known.lengths.len()).sum()
    }

    fn bytes(&self) -> usize {
        let lengths = self.open.values().flat_map(|known| &known.lengths);
        lengths.sum()
    }

    fn sequences(lengths: &[usize], number: Number) -> Vec<Tokens> {
        let lengths = lengths.iter();
        lengths.map(|&length| tokens(number, length)).collect()
    }

    fn arrive(
        &mut self,
        lane: Lane,
        lengths: Vec<usize>,
        deadline: Option<u64>,
        tokenised: bool,
    ) -> Result<(), TestCaseError> {
        let number = self.numbers;
        self.numbers += 1;
        let bytes: usize = lengths.iter().sum();
        let deadline = deadline.map(|ms| self.now + Duration::from_millis(ms));
        let arrival = Arrival {
            lane,
            deadline,
            inputs: lengths.len(),
            bytes,
            work: match tokenised {
                true => Work::Run(Self::sequences(&lengths, number)),
                false => Work::Tokenise,
            },
            ticket: number,
        };
        let fits = self.inputs() + lengths.len() <= limits().inputs
            && self.bytes() + bytes <= limits().bytes;
        match self.queue.accept(arrival) {
            Ok(id) => {
                prop_assert!(fits, "accepted above the bounds");
                let taken = BTreeSet::new();
                let known = Known {
                    id,
                    lane,
                    lengths,
                    deadline,
                    taken,
                };
                self.open.insert(number, known);
            }
            Err(refused) => {
                prop_assert_eq!(refused, Refused::Full);
                prop_assert!(!fits, "refused below the bounds");
            }
        }
        Ok(())
    }

    fn tokenised(&mut self) {
        if self.tokenising.is_empty() {
            return;
        }
        let (id, number) = self.tokenising.remove(0);
        // A request that is gone has no lengths; the queue must not take its sequences either.
        let lengths = match self.open.get(&number) {
            Some(known) => known.lengths.clone(),
            None => vec![1],
        };
        self.queue.tokenised(id, Self::sequences(&lengths, number));
    }

    fn expire(&mut self) -> Result<(), TestCaseError> {
        for number in self.queue.expire(self.now) {
            let known = self.open.remove(&number);
            let known = known.expect("expired requests are open");
            prop_assert!(known.deadline.is_some_and(|deadline| deadline <= self.now));
            prop_assert!(known.taken.len() < known.lengths.len(), "all of it was run");
        }
        Ok(())
    }

    /// One turn of the device; false if it had nothing to run.
    fn batch(&mut self) -> Result<bool, TestCaseError> {
        self.expire()?;
        let batch = match self.queue.next_batch(self.now) {
            Next::Run(batch) => batch,
            Next::Hold(until) => {
                prop_assert!(self.now < until && until <= self.now + WINDOW);
                return Ok(false);
            }
            Next::Idle => return Ok(false),
        };
        self.check(&batch)?;
        self.check_turn(&batch)?;
        let mut answered = 0;
        for taken in batch {
            let known = self.open.get_mut(&taken.ticket).expect("checked");
            prop_assert!(known.taken.insert(taken.position), "taken twice");
            if known.taken.len() == known.lengths.len() {
                self.open.remove(&taken.ticket);
                self.queue.remove(taken.request);
                answered += 1;
            }
        }
        self.queue.batch_ended(self.now, answered);
        Ok(true)
    }

    fn check(&self, batch: &[Taken<Number>]) -> Result<(), TestCaseError> {
        prop_assert!(!batch.is_empty());
        let sequences: BTreeSet<&[u32]> = batch.iter().map(|taken| &*taken.tokens.ids).collect();
        let width = sequences.iter().map(|ids| ids.len()).max().unwrap();
        prop_assert!(sequences.len() == 1 || sequences.len() * width <= BATCH_TOKENS);
        for taken in batch {
            let known = self.open.get(&taken.ticket);
            let known = known.ok_or_else(|| TestCaseError::fail("ran a request that is gone"))?;
            prop_assert_eq!(known.id, taken.request);
            let ids = vec![taken.ticket; known.lengths[taken.position]];
            prop_assert_eq!(&taken.tokens.ids, &ids, "another request's sequence");
            let passed = known.deadline.is_some_and(|deadline| deadline <= self.now);
            prop_assert!(!passed, "ran after its deadline");
            prop_assert_eq!(
                known.lane,
                self.open[&batch[0].ticket].lane,
                "lanes are mixed"
            );
        }
        Ok(())
    }

    /// Bulk that waits has every fifth turn.
    fn check_turn(&mut self, batch: &[Taken<Number>]) -> Result<(), TestCaseError> {
        let lane = self.open[&batch[0].ticket].lane;
        let bulk_waits = self.queue.sequences(Lane::Bulk).len() > 0;
        self.query_turns = match (lane, bulk_waits) {
            (Lane::Query, true) => self.query_turns + 1,
            _ => 0,
        };
        prop_assert!(self.query_turns <= QUERY_TURNS, "bulk is starved");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_run_once_given_up_or_expired_whatever_arrives(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut model = Model::new();
        for event in events {
            match event {
                Event::Arrive { lane, lengths, deadline, tokenised } => {
                    model.arrive(lane, lengths, deadline, tokenised)?;
                }
                Event::TakeTexts => model.tokenising.extend(model.queue.next_texts()),
                Event::Tokenised => model.tokenised(),
                Event::Batch => {
                    model.batch()?;
                }
                Event::Cancel(nth) => {
                    let number = model.open.keys().nth(nth).copied();
                    if let Some(known) = number.and_then(|number| model.open.remove(&number)) {
                        prop_assert_eq!(model.queue.remove(known.id), number);
                    }
                }
                Event::Wait(ms) => model.now += Duration::from_millis(ms),
            }
            prop_assert_eq!(model.queue.held_inputs(), model.inputs());
            let next = model.open.values().filter(|k| k.taken.len() < k.lengths.len());
            prop_assert_eq!(model.queue.next_deadline(), next.filter_map(|k| k.deadline).min());
        }
        // Everything that is left is served, in no more turns than there are sequences.
        let mut turns = model.open.values().map(|known| known.lengths.len()).sum::<usize>();
        while let Some(next) = model.queue.next_texts() {
            model.tokenising.push(next);
        }
        while !model.tokenising.is_empty() {
            model.tokenised();
        }
        model.now += WINDOW;
        while model.batch()? {
            prop_assert!(turns > 0, "more turns than sequences");
            turns -= 1;
            model.now += WINDOW;
        }
        prop_assert!(model.open.is_empty(), "left behind: {:?}", model.open);
        prop_assert!(model.queue.nothing_waits());
    }

    #[test]
    fn the_oldest_sequence_of_a_lane_is_in_its_next_batch(
        lengths in prop::collection::vec(1usize..80, 1..60),
    ) {
        let mut queue = Queue::new(Limits { inputs: 1000, bytes: 100_000, window: WINDOW });
        queue.set_batch_tokens(BATCH_TOKENS);
        for (number, &length) in lengths.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            queue.accept(arrival(Lane::Bulk, number, length)).unwrap();
        }
        let mut waiting: BTreeSet<Number> = (0..).take(lengths.len()).collect();
        let now = Instant::now();
        while let Next::Run(batch) = queue.next_batch(now) {
            let taken: BTreeSet<Number> = batch.iter().map(|taken| taken.ticket).collect();
            prop_assert!(waiting.first().is_some_and(|oldest| taken.contains(oldest)));
            waiting.retain(|number| !taken.contains(number));
        }
        prop_assert!(waiting.is_empty());
    }
}

fn tokens(number: Number, length: usize) -> Tokens {
    Tokens {
        ids: vec![number; length],
        prefix: 0,
    }
}

fn arrival(lane: Lane, number: Number, length: usize) -> Arrival<Number> {
    Arrival {
        lane,
        deadline: None,
        inputs: 1,
        bytes: 1,
        work: Work::Run(vec![tokens(number, length)]),
        ticket: number,
    }
}

fn queue() -> Queue<Number> {
    let mut queue = Queue::new(limits());
    queue.set_batch_tokens(BATCH_TOKENS);
    queue
}

fn run(queue: &mut Queue<Number>, now: Instant) -> Vec<Number> {
    match queue.next_batch(now) {
        Next::Run(batch) => batch.iter().map(|taken| taken.ticket).collect(),
        other => panic!("expected a batch, found {other:?}"),
    }
}

#[test]
fn queries_go_first_and_bulk_has_every_fifth_turn() {
    let mut queue = queue();
    let now = Instant::now();
    // Sequences that fill a batch each.
    for number in 0..2 {
        queue.accept(arrival(Lane::Bulk, number, 64)).unwrap();
    }
    for number in 10..16 {
        queue.accept(arrival(Lane::Query, number, 64)).unwrap();
    }
    let order: Vec<Number> = (0..8).flat_map(|_| run(&mut queue, now)).collect();
    assert_eq!(order, [10, 11, 12, 13, 0, 14, 15, 1]);
}

#[test]
fn an_idle_device_never_waits_and_a_loaded_one_waits_for_the_callers_it_just_answered() {
    let mut queue = queue();
    let now = Instant::now();
    queue.accept(arrival(Lane::Query, 0, 8)).unwrap();
    assert_eq!(run(&mut queue, now), [0]);
    // One caller answered: nobody to wait for.
    queue.batch_ended(now, 1);
    queue.accept(arrival(Lane::Query, 1, 8)).unwrap();
    assert_eq!(run(&mut queue, now), [1]);
    // Two answered while one waits: the three are run together.
    queue.accept(arrival(Lane::Query, 2, 8)).unwrap();
    queue.batch_ended(now, 2);
    assert!(matches!(queue.next_batch(now), Next::Hold(until) if until == now + WINDOW));
    queue.accept(arrival(Lane::Query, 3, 8)).unwrap();
    assert!(matches!(queue.next_batch(now), Next::Hold(_)));
    queue.accept(arrival(Lane::Query, 4, 8)).unwrap();
    assert_eq!(run(&mut queue, now), [2, 3, 4]);
}

#[test]
fn a_hold_ends_with_its_window_or_with_a_full_batch() {
    let mut queue = queue();
    let now = Instant::now();
    queue.batch_ended(now, 5);
    queue.accept(arrival(Lane::Query, 0, 8)).unwrap();
    assert!(matches!(queue.next_batch(now), Next::Hold(_)));
    assert_eq!(run(&mut queue, now + WINDOW), [0]);
    queue.batch_ended(now, 5);
    queue.accept(arrival(Lane::Query, 1, 64)).unwrap();
    assert_eq!(run(&mut queue, now), [1]);
}

#[test]
fn a_shut_queue_accepts_nothing_and_serves_what_it_has() {
    let mut queue = queue();
    queue.accept(arrival(Lane::Query, 0, 8)).unwrap();
    queue.shut();
    let refused = queue.accept(arrival(Lane::Query, 1, 8));
    assert_eq!(refused.unwrap_err(), Refused::Closed);
    assert_eq!(run(&mut queue, Instant::now()), [0]);
    assert!(queue.nothing_waits());
}

#[test]
fn a_request_of_any_size_is_weighed_without_overflow() {
    let mut queue = queue();
    queue.accept(arrival(Lane::Query, 0, 8)).unwrap();
    let mut huge = arrival(Lane::Query, 1, 8);
    (huge.inputs, huge.bytes) = (usize::MAX, usize::MAX);
    assert_eq!(queue.accept(huge).unwrap_err(), Refused::Full);
}
