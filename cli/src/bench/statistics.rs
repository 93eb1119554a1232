//! Percentiles of a few measurements.

use std::time::Duration;

/// Milliseconds, ascending; at least one.
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of_milliseconds(times.into_iter().map(milliseconds).collect())
    }

    pub(crate) fn of_milliseconds(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// The nearest rank: the least measurement that `percent` of all do not pass. 0 where there is
    /// none.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.0.len() as f64).ceil() as usize;
        let place = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    pub(crate) fn into_vec(self) -> Vec<f64> {
        self.0
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_measurements() {
        let times = [30, 10, 20, 40].map(Duration::from_millis);
        let sorted = Sorted::of(times);
        for (percent, expected) in [(0.0, 10.0), (50.0, 20.0), (75.0, 30.0), (95.0, 40.0)] {
            assert_eq!(sorted.percentile(percent), expected, "{percent}");
        }
        assert_eq!(Sorted::of([]).median(), 0.0);
    }
}
