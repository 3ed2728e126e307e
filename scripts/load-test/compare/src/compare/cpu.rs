//! CPU time of processes, from [/proc](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html). A process counts
//! with all its descendants: RabbitMQ is a shell script around the Erlang VM.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// User and system time, also of children that have ended, in clock ticks.
    ticks: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
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

/// User and system time of process `root` and its descendants so far.
pub(crate) fn time_of_tree(root: u32) -> Duration {
    let pids = std::iter::once(root).chain(descendants(root));
    let ticks: u64 = pids.filter_map(Stat::of).map(|stat| stat.ticks).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The processes that `root` started, and those they started.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(stat) = Stat::of(pid) {
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

/// Whether the process still runs: one that only waits to be reaped does not.
pub(crate) fn is_running(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
    }

    #[test]
    fn what_is_cut_off_is_no_stat() {
        assert_eq!(Stat::parse("42 (name) S 7 42"), None);
        assert_eq!(Stat::parse(""), None);
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
    fn work_costs_time() {
        let before = time_of_tree(std::process::id());
        let until = std::time::Instant::now() + Duration::from_millis(100);
        while std::time::Instant::now() < until {}
        assert!(time_of_tree(std::process::id()) > before);
    }
}
