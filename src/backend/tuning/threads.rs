//! How many threads run, from measured times.

use std::time::Duration;

/// What another number of threads must bring before it is taken, in time on average: less could be
/// other work on the machine, which is gone at the next start.
const LEAST_GAIN: f64 = 0.1;

/// What a number of threads takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend) struct Figures {
    pub(in crate::backend) threads: usize,
    /// For a short query.
    pub(in crate::backend) few: Duration,
    /// For a batch.
    pub(in crate::backend) many: Duration,
}

impl Figures {
    /// How long it takes as a part of what `default` does; query and batch count the same.
    fn against(&self, default: &Self) -> f64 {
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        (ratio(self.few, default.few) + ratio(self.many, default.many)) / 2.0
    }
}

/// The default, which is the first, unless another is faster by a tenth.
pub(in crate::backend) fn threads(figures: &[Figures]) -> Option<usize> {
    let default = figures.first()?;
    let best = figures
        .iter()
        .min_by(|a, b| a.against(default).total_cmp(&b.against(default)))?;
    Some(match best.against(default) < 1.0 - LEAST_GAIN {
        true => best.threads,
        false => default.threads,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn another_number_of_threads_must_be_faster_by_a_tenth() {
        let of = |figures: &[(usize, u64, u64)]| {
            let figures = figures.iter().map(|&(threads, few, many)| Figures {
                threads,
                few: ms(few),
                many: ms(many),
            });
            threads(&figures.collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(4, 100, 1000)]), Some(4));
        for (case, expected) in [
            // Threads of one core that help, and that do not.
            ([(4, 100, 1000), (8, 80, 800), (2, 150, 1900)], 8),
            ([(4, 100, 1000), (8, 98, 850), (2, 150, 1900)], 4),
            // Memory that is full with half of the cores.
            ([(4, 100, 1000), (8, 120, 1100), (2, 60, 1050)], 2),
            // A query and a batch count the same, however long they take.
            ([(4, 100, 1000), (8, 50, 1400), (2, 100, 1000)], 4),
            ([(4, 100, 1000), (8, 200, 600), (2, 110, 1900)], 4),
            ([(4, 100, 1000), (8, 90, 920), (2, 150, 1900)], 4),
        ] {
            assert_eq!(of(&case), Some(expected), "{case:?}");
        }
    }
}
