//! The machine, as far as its speed goes.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

/// The processor's name, its cores, and how many of its threads this process may use at once, by
/// affinity and control group.
pub(super) fn name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!(
        "{} {}, {} cores, {} usable",
        std::env::consts::ARCH,
        model(&text),
        cores(),
        usable()
    )
}

/// Threads of the processors that this process may use at once.
pub(in crate::backend) fn usable() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Physical cores; 0 where the system does not say.
pub(in crate::backend) fn cores() -> usize {
    cores_in(Path::new("/sys/devices/system/cpu"))
}

/// Whether more wants to run than the machine has processors for; false where the system does not
/// say.
pub(super) fn is_busy() -> bool {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    exceeds(&load, &processors)
}

/// `load` begins with the tasks that ran or waited in the last minute, on average.
fn exceeds(load: &str, cpuinfo: &str) -> bool {
    let load = load.split_whitespace().next().map(str::parse::<f64>);
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor"));
    load.is_some_and(|load| load.is_ok_and(|load| load > processors.count() as f64))
}

/// Groups of CPUs that are threads of one another.
fn cores_in(cpus: &Path) -> usize {
    let folders = fs::read_dir(cpus).into_iter().flatten().flatten();
    let siblings = folders.filter_map(|cpu| {
        fs::read_to_string(cpu.path().join("topology/thread_siblings_list")).ok()
    });
    siblings.collect::<BTreeSet<_>>().len()
}

/// Its name; on Arm, which has none, the numbers of each kind of core.
fn model(cpuinfo: &str) -> String {
    let of = |keys: &[&str]| {
        let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(key, _)| keys.contains(&key.trim()));
        let values: BTreeSet<&str> = named.map(|(_, value)| value.trim()).collect();
        values.into_iter().collect::<Vec<_>>().join(" ")
    };
    match of(&["model name"]) {
        name if name.is_empty() => of(&["CPU implementer", "CPU part"]),
        name => name,
    }
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
        assert_eq!(cores_in(cpus.path()), 2);
        assert_eq!(cores_in(&cpus.path().join("missing")), 0);
        assert!(usable() >= 1);
    }

    #[test]
    fn a_processor_is_known_by_its_name_or_its_numbers() {
        let x86 = "processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: AMD EPYC";
        assert_eq!(model(x86), "AMD EPYC");
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU part\t: 0xd40";
        assert_eq!(model(arm), "0x41 0xd0c 0xd40");
        assert_eq!(model(""), "");
    }

    #[test]
    fn a_machine_is_busy_when_more_wants_to_run_than_it_has_processors() {
        let two = "processor\t: 0\nprocessor\t: 1\n";
        assert!(exceeds("2.10 1.00 1.00 3/300 1000", two));
        assert!(!exceeds("1.90 3.00 3.00 3/300 1000", two));
        assert!(!exceeds("", two));
    }
}
