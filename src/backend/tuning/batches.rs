//! How many tokens run at a time, from measured times.

use std::time::{Duration, Instant};

#[cfg(feature = "mlx")]
use crate::batch::TokenBatch;
use crate::error::Result;

/// The sizes of a batch that are tried, in tokens.
const BATCHES: [usize; 4] = [512, 1024, 2048, 4096];

/// Tokens of a sequence in a batch that is tried.
pub(in crate::backend) const SEQUENCE: usize = 128;

/// How long batches are tried.
const TIME: Duration = Duration::from_secs(1);

/// What a token may cost beyond the cheapest in a smaller batch: that one makes requests wait less
/// and takes less memory.
const MOST_LOSS: f64 = 0.03;

/// The tokens of a batch for which `run` takes least a token. `None` where two sizes cannot be
/// tried in the time.
pub(in crate::backend) fn batch_tokens(
    default: usize,
    mut run: impl FnMut(usize) -> Result<()>,
) -> Result<Option<usize>> {
    let begun = Instant::now();
    run(BATCHES[0])?;
    let first = Instant::now();
    run(BATCHES[0])?;
    let token = first.elapsed().as_secs_f64() / BATCHES[0] as f64;
    let left = TIME.saturating_sub(begun.elapsed());
    let sizes = affordable(token, left);
    if sizes.len() < 2 {
        return Ok(None);
    }
    let times = least_times(sizes.len(), left, |i| run(sizes[i]))?;
    let times = times.map(|times| sizes.iter().copied().zip(times).collect::<Vec<_>>());
    Ok(times.and_then(|times| smallest_cheap(&times, default)))
}

/// So many tokens, a multiple of 128, in sequences of that length which do not begin alike.
#[cfg(feature = "mlx")]
pub(in crate::backend) fn trial_batch(tokens: usize, vocabulary: usize) -> Result<TokenBatch> {
    let sequence = |row: usize| -> Vec<u32> {
        // Ids are below 2^31, as the vocabulary is.
        let id = |i: usize| ((row * 131 + i * 17 + 3) % vocabulary) as u32;
        (0..SEQUENCE).map(id).collect()
    };
    let sequences: Vec<_> = (0..tokens / SEQUENCE).map(sequence).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    TokenBatch::new(&sequences, vocabulary)
}

/// The first sizes of which two turns fit into the time, at so many seconds a token.
fn affordable(token: f64, time: Duration) -> &'static [usize] {
    let mut tokens = 0;
    let fits = BATCHES.iter().take_while(|&&size| {
        tokens += size;
        2.0 * tokens as f64 * token <= time.as_secs_f64()
    });
    &BATCHES[..fits.count()]
}

/// The smallest size at which a token costs little more than at the best. Where tokens still became
/// cheaper at the largest that was tried, the default if that is larger.
fn smallest_cheap(times: &[(usize, Duration)], default: usize) -> Option<usize> {
    let token = |&(tokens, time): &(usize, Duration)| time.as_secs_f64() / tokens as f64;
    let cheapest = times.iter().map(token).min_by(f64::total_cmp)?;
    let cheap = |of: &&(usize, Duration)| token(of) <= cheapest * (1.0 + MOST_LOSS);
    let chosen = times.iter().find(cheap)?.0;
    let largest = times.last()?.0;
    Some(match chosen == largest {
        true => largest.max(default),
        false => chosen,
    })
}

/// The least time of each of `count` runs, which take turns for `time`, so that other work on the
/// machine slows all of them. A first turn does not count; `None` where no second one fits.
pub(in crate::backend) fn least_times(
    count: usize,
    time: Duration,
    mut run: impl FnMut(usize) -> Result<()>,
) -> Result<Option<Vec<Duration>>> {
    let begun = Instant::now();
    let mut turn = || -> Result<Vec<Duration>> {
        let timed = |i| {
            let begun = Instant::now();
            run(i)?;
            Ok(begun.elapsed())
        };
        (0..count).map(timed).collect()
    };
    let mut last: Duration = turn()?.iter().sum();
    tracing::debug!(?last, "a turn");
    let mut least: Option<Vec<Duration>> = None;
    while begun.elapsed() + last <= time {
        let times = turn()?;
        last = times.iter().sum();
        least = Some(match least {
            None => times,
            Some(least) => {
                let pairs = least.into_iter().zip(times);
                pairs.map(|(a, b)| a.min(b)).collect()
            }
        });
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_smallest_batch_at_which_a_token_is_cheap_is_taken() {
        let of = |times: &[(usize, u64)], default| {
            let times = times.iter().map(|&(tokens, time)| (tokens, ms(time)));
            smallest_cheap(&times.collect::<Vec<_>>(), default)
        };
        for (case, expected) in [
            // A token costs the same everywhere; within 3 %; more than that.
            (vec![(512, 512), (1024, 1024), (2048, 2048)], 512),
            (vec![(512, 520), (1024, 1024), (2048, 2048)], 512),
            (vec![(512, 530), (1024, 1024), (2048, 2048)], 1024),
            // Larger batches leave the caches.
            (vec![(512, 530), (1024, 1024), (2048, 2300)], 1024),
            // An accelerator that fills up.
            (vec![(512, 90), (1024, 100), (2048, 120), (4096, 200)], 4096),
            // It may go on so: the time was too short for the default.
            (vec![(512, 90), (1024, 100)], 4096),
        ] {
            let default = if case.len() == 3 { 1024 } else { 4096 };
            assert_eq!(of(&case, default), Some(expected), "{case:?}");
        }
        assert_eq!(of(&[], 1024), None);
    }

    #[test]
    fn only_batches_that_fit_into_the_time_are_tried() {
        assert_eq!(affordable(1e-6, TIME), BATCHES);
        assert_eq!(affordable(1.0 / 7168.0, TIME), [512, 1024, 2048]);
        assert_eq!(affordable(1.0 / 3072.0, TIME), [512, 1024]);
        assert_eq!(affordable(1.0 / 1024.0, TIME), [512]);
        assert_eq!(affordable(1.0, TIME), [0; 0]);
    }

    #[test]
    fn runs_take_turns_and_the_first_turn_does_not_count() {
        let mut order = Vec::new();
        let none = least_times(2, Duration::ZERO, |i| {
            order.push(i);
            std::thread::sleep(ms(1));
            Ok(())
        });
        assert_eq!((none.unwrap(), order), (None, vec![0, 1]));
        let mut runs = 0;
        let times = least_times(2, ms(500), |i| {
            runs += 1;
            std::thread::sleep(ms(if runs <= 2 { 30 } else { 1 + 4 * i as u64 }));
            Ok(())
        });
        let times = times.unwrap().unwrap();
        assert!(times[0] < times[1] && times[1] < ms(30), "{times:?}");
    }
}
