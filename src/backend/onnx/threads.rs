//! The threads of one operator: how many, what they do between, and where they run.

use super::Options;
use crate::backend::tuning::{Choice, Choices, cores, usable};
use crate::error::{Error, Result};

/// What a thread of ONNX Runtime does between two pieces of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Waiting {
    /// It sleeps, and leaves its core to others.
    #[default]
    Sleep,
    /// It spins for a while before it sleeps: work starts sooner, and a core is busy with nothing.
    /// For processes that do little else.
    Spin,
}

/// Who computes an operator: the calling thread and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Threads {
    /// All of them.
    pub(super) count: usize,
    pub(super) waiting: Waiting,
    /// The processor of each of the others, or none.
    pinned: Vec<usize>,
}

impl Threads {
    /// What the options say and, where they say nothing, [`default_count`], [`Waiting::Sleep`] and
    /// no pinning.
    pub(super) fn of(options: &Options) -> Result<Self> {
        let pinned = &options.pinned;
        let count = match options.threads {
            Some(threads) => threads.get(),
            None if pinned.is_empty() => default_count(),
            None => pinned.len() + 1,
        };
        if !pinned.is_empty() && pinned.len() + 1 != count {
            return Err(Error::Option {
                option: "pin_threads",
                expected: format!("a processor for each of {} threads", count - 1),
                found: format!("{} processors", pinned.len()),
            });
        }
        Ok(Self {
            count,
            waiting: options.waiting,
            pinned: pinned.clone(),
        })
    }

    /// How many the options ask for, else the default.
    pub(super) fn choice(options: &Options) -> Result<Choice> {
        let Self { count, pinned, .. } = Self::of(options)?;
        let asked = options.threads.is_some() || !pinned.is_empty();
        Ok(Choice::new(asked.then_some(count), count))
    }

    /// The same, as many as was decided.
    pub(super) fn chosen(&self, choices: Choices) -> Self {
        let count = choices.threads.map_or(self.count, |choice| choice.value);
        self.with_count(count)
    }

    /// The same, but for their number.
    pub(super) fn with_count(&self, count: usize) -> Self {
        Self {
            count,
            ..self.clone()
        }
    }

    /// The numbers that are worth a try, the default first: one for each core, all that the
    /// processors have, half as many as cores.
    pub(super) fn candidates(&self) -> Vec<usize> {
        let mut candidates = vec![self.count];
        for count in [usable(), self.count / 2] {
            if count > 0 && !candidates.contains(&count) {
                candidates.push(count);
            }
        }
        candidates
    }

    /// The processors as ONNX Runtime reads them: counted from 1, none for the calling thread.
    pub(super) fn affinities(&self) -> Option<String> {
        let processors = self.pinned.iter().map(|cpu| (cpu + 1).to_string());
        let list = processors.collect::<Vec<_>>().join(";");
        Some(list).filter(|list| !list.is_empty())
    }
}

/// One for each physical core, but no more than the process may use at once. ONNX Runtime's own
/// default would also pin its threads to cores, which in a database belong to others.
fn default_count() -> usize {
    match (usable(), cores()) {
        (usable, 0) => usable,
        (usable, cores) => usable.min(cores),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn threads(count: Option<usize>, pinned: &[usize]) -> Result<Threads, String> {
        let options = Options {
            threads: count.and_then(NonZeroUsize::new),
            pinned: pinned.to_vec(),
            ..Options::default()
        };
        Threads::of(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_pinned_and_nothing_spins_unless_asked_for() {
        let default = threads(None, &[]).unwrap();
        assert_eq!(default.affinities(), None);
        assert_eq!(default.waiting, Waiting::Sleep);
        assert_eq!(threads(Some(3), &[]).unwrap().count, 3);
    }

    #[test]
    fn every_thread_but_the_callers_is_pinned_or_none_is() {
        let pinned = threads(None, &[0, 5]).unwrap();
        assert_eq!(pinned.count, 3);
        assert_eq!(pinned.affinities().as_deref(), Some("1;6"));
        assert_eq!(threads(Some(3), &[0, 5]), Ok(pinned));
        assert_eq!(
            threads(Some(2), &[0, 5]).unwrap_err(),
            "pin_threads: expected a processor for each of 1 threads, found 2 processors"
        );
    }
}
