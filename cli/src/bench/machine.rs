//! The machine that was measured on.

use serde::{Deserialize, Serialize};

/// What two reports must share before their times may be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// As the system names it.
    pub(crate) processor: String,
    /// Processors that this process may use.
    pub(crate) processors: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) system: String,
    pub(crate) architecture: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let (processor, memory_bytes) = named().unwrap_or_default();
        Self {
            processor,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes,
            system: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.processor.as_str() {
            "" => "a processor without a name",
            name => name,
        };
        let gigabytes = self.memory_bytes as f64 / 1e9;
        write!(
            f,
            "{name}, {} processors, {gigabytes:.1} GB, {} {}",
            self.processors, self.system, self.architecture
        )
    }
}

/// Tasks that ran or waited to run, on average over the last minute; none where it is not told.
pub(crate) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The processor's name and the bytes of memory.
#[cfg(target_os = "linux")]
fn named() -> Option<(String, u64)> {
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    // Arm's have numbers in place of a name.
    let name = field(&cpu, "model name").or_else(|| {
        let [implementer, part] = ["CPU implementer", "CPU part"].map(|key| field(&cpu, key));
        Some(format!("implementer {} part {}", implementer?, part?))
    });
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes: u64 = field(&memory, "MemTotal")?
        .split(' ')
        .next()?
        .parse()
        .ok()?;
    Some((name.unwrap_or_default(), kilobytes * 1024))
}

#[cfg(not(target_os = "linux"))]
fn named() -> Option<(String, u64)> {
    let told = std::process::Command::new("/usr/sbin/sysctl")
        .args(["-n", "machdep.cpu.brand_string", "hw.memsize"])
        .output()
        .ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (name, memory) = told.trim().split_once('\n')?;
    Some((name.to_owned(), memory.trim().parse().ok()?))
}
