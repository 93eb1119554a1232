//! The most memory that the process has held.

/// Begins anew, where the system can; elsewhere the most is that since the process began.
#[cfg(target_os = "linux")]
pub(super) fn reset_peak() {
    // Where it is not allowed, the peak stays that of the process, which is no lower.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reset_peak() {}

/// Bytes; none where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn peak() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.max_rss()).ok().map(|most| most * unit)
}

#[cfg(not(unix))]
pub(super) fn peak() -> Option<u64> {
    None
}
