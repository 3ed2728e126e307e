//! What the figures belong to: they are compared within one run, never between machines.

use std::fmt;
use std::fs::read_to_string;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::process::Command;

use crate::cluster::Programs;

/// Machine and versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    date: String,
    version: &'static str,
    redis: String,
    cores: usize,
    processor: String,
    kernel: String,
}

impl Machine {
    /// This machine, with the redis-server that will run.
    pub(crate) async fn read(programs: &Programs) -> Result<Self, String> {
        let asked = Command::new(&programs.redis).arg("--version").output().await;
        let output = asked.map_err(|error| {
            let redis = &programs.redis;
            format!(
                "could not run {redis}: {error}; scripts/install redis-server installs it, REDIS_SERVER names another"
            )
        })?;
        let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            date: OffsetDateTime::now_utc().date().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            redis: redis_version(&String::from_utf8_lossy(&output.stdout)),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: processor(&cpuinfo),
            kernel: kernel.trim().to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            version,
            redis,
            cores,
            processor,
            kernel,
        } = self;
        write!(
            f,
            "Roundtrip {version}, redis-server {redis} without persistence, simulated weather; {cores} × {processor}, Linux {kernel}, {date}; load, services and Redis on the same cores."
        )
    }
}

fn redis_version(output: &str) -> String {
    let version = output.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.unwrap_or("of unknown version").to_owned()
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.and_then(|rest| rest.split_once(':'));
    name.map_or("unknown processor", |(_, name)| name.trim()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_names_are_found() {
        assert_eq!(redis_version("Redis server v=7.0.15 sha=0:0 malloc=x"), "7.0.15");
        assert_eq!(redis_version(""), "of unknown version");
        assert_eq!(
            processor("processor : 0\nmodel name\t: AMD EPYC 9B\nx : y"),
            "AMD EPYC 9B"
        );
        assert_eq!(processor(""), "unknown processor");
    }
}
