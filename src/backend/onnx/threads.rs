//! The threads of one operator: how many, what they do between, and where they run.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::{fs, thread};

use super::Options;
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
    let usable = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    match cores(Path::new("/sys/devices/system/cpu")) {
        0 => usable,
        cores => usable.min(cores),
    }
}

/// Physical cores: groups of CPUs that are threads of one another. 0 where the system does not say.
fn cores(cpus: &Path) -> usize {
    let folders = fs::read_dir(cpus).into_iter().flatten().flatten();
    let siblings = folders.filter_map(|cpu| {
        fs::read_to_string(cpu.path().join("topology/thread_siblings_list")).ok()
    });
    siblings.collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn threads_of_one_core_count_once() {
        let cpus = tempfile::tempdir().unwrap();
        for (cpu, siblings) in [
            ("cpu0", "0,2"),
            ("cpu1", "1,3"),
            ("cpu2", "0,2"),
            ("cpu3", "1,3"),
        ] {
            let topology = cpus.path().join(cpu).join("topology");
            fs::create_dir_all(&topology).unwrap();
            fs::write(topology.join("thread_siblings_list"), siblings).unwrap();
        }
        fs::create_dir(cpus.path().join("cpufreq")).unwrap();
        assert_eq!(cores(cpus.path()), 2);
        assert_eq!(cores(&cpus.path().join("missing")), 0);
        assert!(default_count() >= 1);
    }
}
