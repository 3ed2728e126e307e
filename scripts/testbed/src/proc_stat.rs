//! What processes use, as the kernel tells in /proc (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// User and system time of all threads, also of children that have ended, in clock ticks.
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self, String> {
        let stat = read(pid, "stat")?;
        Self::parse(&stat).ok_or_else(|| format!("could not read the times in /proc/{pid}/stat"))
    }

    fn parse(line: &str) -> Option<Self> {
        // The name, in brackets, may hold spaces and brackets itself.
        let (_, fields) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let times = fields.get(11..15)?;
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            ticks: times.iter().map(|time| time.parse::<u64>().ok()).sum::<Option<u64>>()?,
        })
    }
}

/// User and system time of a process so far.
pub(crate) fn cpu(pid: u32) -> Result<Duration, String> {
    Stat::of(pid).map(|stat| time(stat.ticks))
}

/// User and system time of a process so far, with all that it started.
pub(crate) fn cpu_of_tree(root: u32) -> Duration {
    let all = std::iter::once(root).chain(descendants(root));
    time(all.filter_map(|pid| Some(Stat::of(pid).ok()?.ticks)).sum())
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64, String> {
    let status = read(pid, "status")?;
    resident_in(&status).ok_or_else(|| format!("could not read VmRSS in /proc/{pid}/status"))
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/fd");
    let open = fs::read_dir(&path).map_err(|error| format!("could not read {path}: {error}"))?;
    Ok(open.count() as u64)
}

/// The processes that `root` started, and those they started.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Ok(stat) = Stat::of(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    found
}

/// Whether a process still runs: one that only waits to be reaped does not.
pub(crate) fn is_running(pid: u32) -> bool {
    Stat::of(pid).is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

fn read(pid: u32, file: &str) -> Result<String, String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(|error| format!("could not read {path}: {error}"))
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_a_name_with_brackets_and_spaces() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 30 12 5 3 20 0 8 0 1000 1 2 3";
        let expected = Stat {
            state: 'S',
            parent: 7,
            ticks: 30 + 12 + 5 + 3,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        for cut_off in ["42 (name) S 7 42", ""] {
            assert_eq!(Stat::parse(cut_off), None);
        }
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t  2048 kB\nVmData: 1 kB"), Some(2 << 20));
        assert_eq!(resident_in("Name:\tx"), None);
    }

    #[test]
    fn a_child_is_among_the_descendants_until_it_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(is_running(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_running(child.id()));
    }

    #[test]
    fn work_costs_time_and_a_process_holds_something() {
        let pid = std::process::id();
        let before = cpu(pid).unwrap();
        let until = std::time::Instant::now() + Duration::from_millis(100);
        while std::time::Instant::now() < until {}
        assert!(cpu(pid).unwrap() > before && cpu_of_tree(pid) > before);
        assert!(resident(pid).unwrap() > 0 && descriptors(pid).unwrap() > 2);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        assert!(cpu(u32::MAX).unwrap_err().contains("/proc/4294967295/stat"));
        assert!(resident(u32::MAX).is_err() && descriptors(u32::MAX).is_err());
    }
}
