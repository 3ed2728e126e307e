//! The machine that figures belong to.

use std::fs::read_to_string;

/// Its cores; 0 when nobody knows.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// The kernel's version.
#[must_use]
pub fn kernel() -> String {
    let release = read_to_string("/proc/sys/kernel/osrelease");
    release.unwrap_or_default().trim().to_owned()
}

/// The processor's name.
#[must_use]
pub fn processor() -> String {
    processor_in(&read_to_string("/proc/cpuinfo").unwrap_or_default())
}

fn processor_in(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|rest| rest.split_once(':'));
    name.map_or("unknown processor", |(_, name)| name.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_told_by_its_model() {
        let cpuinfo = "processor : 0\nmodel name\t: AMD EPYC 9B\nx : y";
        assert_eq!(processor_in(cpuinfo), "AMD EPYC 9B");
        assert_eq!(processor_in(""), "unknown processor");
    }
}
