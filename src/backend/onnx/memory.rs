//! Memory that an allocation can still have, as far as the system tells.

use std::fs;
use std::path::Path;

/// Bytes left: those of the machine and of every control group that this process is in.
/// `None` where the system does not say (anything but Linux).
pub(super) fn available() -> Option<usize> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine =
        machine.and_then(|text| Some(field(&text, "MemAvailable:")?.saturating_mul(1024)));
    machine.into_iter().chain(control_groups()).min()
}

/// Bytes left in each control group, version 2, from the process's own up to the root.
fn control_groups() -> Vec<usize> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let folders = Path::new(own).ancestors();
    folders
        .filter_map(|folder| left_in(&Path::new("/sys/fs/cgroup").join(folder)))
        .collect()
}

fn left_in(group: &Path) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let max: usize = read("memory.max")?.trim().parse().ok()?;
    let used: usize = read("memory.current")?.trim().parse().ok()?;
    // Files read once count as used and are given up first.
    let reclaimable = field(&read("memory.stat")?, "inactive_file").unwrap_or(0);
    Some(max.saturating_sub(used.saturating_sub(reclaimable)))
}

/// The number after `key` at the start of a line.
fn field(text: &str, key: &str) -> Option<usize> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut line = lines.find(|line| line.clone().next() == Some(key))?;
    line.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "inactive_file_x 1\ninactive_file 2\nMemAvailable:    3 kB\n";
        assert_eq!(field(text, "inactive_file"), Some(2));
        assert_eq!(field(text, "MemAvailable:"), Some(3));
        assert_eq!(field(text, "Mem"), None);
    }

    #[test]
    fn what_a_group_has_left_does_not_count_files_that_can_be_dropped() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        assert_eq!(left_in(group.path()), None);
        write("memory.max", "1000\n");
        write("memory.current", "900\n");
        write("memory.stat", "anon 100\ninactive_file 800\n");
        assert_eq!(left_in(group.path()), Some(900));
        write("memory.max", "max\n");
        assert_eq!(left_in(group.path()), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_says_how_much_it_has() {
        assert!(available().unwrap() > 1 << 20);
    }
}
