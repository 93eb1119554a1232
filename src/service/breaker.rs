//! After how many failures the model is left alone, and for how long. No clock of its own.

use std::time::{Duration, Instant};

use super::stats::BreakerState;

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: u32,
    pause: Duration,
    failures: u32,
    state: BreakerState,
}

impl Breaker {
    pub(super) fn new(limit: u32, pause: Duration) -> Self {
        Self {
            limit,
            pause,
            failures: 0,
            state: BreakerState::Closed,
        }
    }

    /// Notes a failure; the end of the pause if there is one now.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Instant> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.limit {
            return None;
        }
        self.state = BreakerState::Open;
        Some(now + self.pause)
    }

    /// Notes that the pause is over.
    pub(super) fn paused(&mut self) {
        self.state = BreakerState::HalfOpen;
    }

    /// Notes a batch that ran.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.state = BreakerState::Closed;
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_at_the_limit_and_at_every_failure_after_it_until_a_batch_runs() {
        let now = Instant::now();
        let pause = Duration::from_secs(5);
        let mut breaker = Breaker::new(2, pause);
        assert_eq!(breaker.failed(now), None);
        assert_eq!(breaker.failed(now), Some(now + pause));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.paused();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.failed(now), Some(now + pause));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(breaker.failed(now), None);
    }
}
