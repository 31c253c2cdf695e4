//! What processes used, from /proc: processor time, peak memory; and bytes on disk.
//!
//! Elsewhere than on Linux there is no /proc and the answer is `None`, shown as "n/a".

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// Peak resident memory of a process, bytes.
#[must_use]
pub(crate) fn peak_memory_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse_peak(&status)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Processor time of a process so far, user and system.
#[must_use]
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_processor_time(&stat, rustix::param::clock_ticks_per_second())
}

fn parse_processor_time(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name in parentheses may contain anything, even parentheses: fields start after the last.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let milliseconds = user.checked_add(system)?.checked_mul(1000)?;
    Some(Duration::from_millis(milliseconds.checked_div(ticks_per_second)?))
}

/// Bytes that the files below a directory occupy on disk.
#[must_use]
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let mut bytes: u64 = 0;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let below = if metadata.is_dir() {
            disk_bytes(&entry.path())
        } else {
            metadata.blocks().saturating_mul(512)
        };
        bytes = bytes.saturating_add(below);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        assert_eq!(parse_peak("Name:\tavid\nVmHWM:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_peak("Name:\tavid\n"), None);
        let stat = "12 (a) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_processor_time(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(parse_processor_time("12 (a", 100), None);
    }
}
