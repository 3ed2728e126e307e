//! What a process has used, as the kernel tells in /proc (<https://man7.org/linux/man-pages/man5/proc.5.html>).

use std::time::Duration;

/// A tick of the times in /proc/PID/stat: user space sees 100 a second on every platform this runs on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process, all threads, to 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Duration, String> {
    let stat = read(pid, "stat")?;
    cpu_in(&stat).ok_or_else(|| format!("could not read the times in /proc/{pid}/stat"))
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64, String> {
    let status = read(pid, "status")?;
    resident_in(&status).ok_or_else(|| format!("could not read VmRSS in /proc/{pid}/status"))
}

/// How many files this process, and so each that it starts, may have open.
pub(crate) fn max_open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    max_open_files_in(&limits)
}

fn read(pid: u32, file: &str) -> Result<String, String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).map_err(|error| format!("could not read {path}: {error}"))
}

fn cpu_in(stat: &str) -> Option<Duration> {
    // The name is in parentheses, and may hold spaces and parentheses itself.
    let (_, fields) = stat.rsplit_once(')')?;
    // After the name come state (field 3) and so on: utime is field 14, stime 15.
    let mut times = fields
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse::<u32>().ok());
    let (user, system) = (times.next()??, times.next()??);
    Some(TICK * (user + system))
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn max_open_files_in(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_user_and_system_time_whatever_the_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 900 0 0 0 123 45 6 7 20 0 4 0 100 1000 200";
        assert_eq!(cpu_in(stat), Some(Duration::from_millis(1680)));
        assert_eq!(cpu_in("7 (a) S 1"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(
            resident_in("Name:\tx\nVmRSS:\t    2048 kB\nVmData: 1 kB"),
            Some(2 << 20)
        );
        assert_eq!(resident_in("Name:\tx"), None);
    }

    #[test]
    fn the_soft_limit_is_the_one_that_counts() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      20000      files\n";
        assert_eq!(max_open_files_in(limits), Some(1024));
        assert_eq!(
            max_open_files_in("Max open files  unlimited unlimited files"),
            Some(u64::MAX)
        );
    }

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 0 && max_open_files().unwrap() > 0);
        cpu(pid).unwrap();
        assert!(cpu(u32::MAX).unwrap_err().contains("/proc/4294967295/stat"));
    }
}
