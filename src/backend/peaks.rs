//! What a device reaches at best, measured: the two lines of its roofline.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Of each product, or of the memory, so long is measured.
const TIME: Duration = Duration::from_millis(250);

/// Of each thread; larger than what its core caches.
const STREAM_BYTES: usize = 64 << 20;

/// The most of `work` a second that `run` does, after one run that does not count.
pub(super) fn rate<E>(work: f64, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    run()?;
    let (begun, mut best) = (Instant::now(), Duration::MAX);
    while begun.elapsed() < TIME {
        let run_begun = Instant::now();
        run()?;
        best = best.min(run_begun.elapsed());
    }
    Ok(work / best.as_secs_f64())
}

/// Bytes a second that `threads` threads together read from the processor's memory.
pub(super) fn memory_rate(threads: usize) -> f64 {
    let stream = || {
        let values = vec![1_u64; STREAM_BYTES / size_of::<u64>()];
        let sum = || {
            values
                .iter()
                .fold(0_u64, |sum, value| sum.wrapping_add(*value))
        };
        let rate = rate(STREAM_BYTES as f64, || {
            black_box(sum());
            Ok::<_, std::convert::Infallible>(())
        });
        rate.unwrap_or_default()
    };
    thread::scope(|scope| {
        let streams: Vec<_> = (0..threads).map(|_| scope.spawn(stream)).collect();
        let rates = streams.into_iter().map(|stream| stream.join());
        rates.map(Result::unwrap_or_default).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_is_counted() {
        let rate = memory_rate(2);
        assert!(rate.is_normal() && rate > 0.0, "{rate}");
    }
}
