//! How many threads one operator uses unless the caller says.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::{fs, thread};

/// One for each physical core, but no more than the process may use at once. ONNX Runtime's own
/// default would also pin its threads to cores, which in a database belong to others.
pub(super) fn default_count() -> usize {
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
