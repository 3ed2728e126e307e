//! What a process holds, as the kernel tells in /proc (<https://man7.org/linux/man-pages/man5/proc.5.html>).

use serde::Serialize;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Open descriptors.
    pub(crate) descriptors: u64,
}

/// What the process `pid` holds; `None` when there is none.
pub(crate) fn of(pid: u32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Usage {
        resident: resident_in(&status)?,
        descriptors,
    })
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t  2048 kB\nVmData: 1 kB"), Some(2 << 20));
        assert_eq!(resident_in("Name:\tx"), None);
    }

    #[test]
    fn this_process_holds_something() {
        let usage = of(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.descriptors > 2);
        assert_eq!(of(u32::MAX), None);
    }
}
