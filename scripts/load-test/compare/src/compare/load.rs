//! The load: Roundtrip's own `load-test`, run as a process, its figures read from its JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::BoxError;

/// What a run may take beyond its time: requests time out after 30 s, and a little for start and report.
const GRACE: Duration = Duration::from_secs(45);

/// Puts load on a peer.
#[derive(Debug, Clone)]
pub(crate) struct LoadTest {
    program: PathBuf,
    report: PathBuf,
}

/// What the load test found.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// All of it.
    pub(crate) json: Value,
    /// What is computed with.
    pub(crate) figures: Figures,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Figures {
    pub(crate) version: String,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) throughput_per_second: f64,
    pub(crate) latency_ms: Latency,
}

/// In ms; null when no request succeeded.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl LoadTest {
    /// The load test at `program`, with its reports in the directory `scratch`.
    pub(crate) fn new(program: &Path, scratch: &Path) -> Self {
        Self {
            program: program.to_owned(),
            report: scratch.join("load.json"),
        }
    }

    /// A closed loop of so many connections for so long.
    pub(crate) async fn run(&self, url: &str, connections: u32, seconds: u64) -> Result<Load, BoxError> {
        // An old report must not pass for this run's.
        let _ = tokio::fs::remove_file(&self.report).await;
        let mut child = Command::new(&self.program)
            .args(["concurrent", "--url", url])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &format!("{seconds}s"), "--json"])
            .arg(&self.report)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("could not start {}: {error}", self.program.display()))?;
        let stderr = child.stderr.take();
        let words = async {
            let mut words = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut words).await;
            }
            words
        };
        let ended = async { tokio::join!(child.wait(), words) };
        let limit = Duration::from_secs(seconds) + GRACE;
        let (status, words) = timeout(limit, ended)
            .await
            .map_err(|_| format!("the load test did not end within {limit:?}"))?;
        // Its status judges the service; the report is what counts here.
        let Ok(report) = tokio::fs::read(&self.report).await else {
            let words = String::from_utf8_lossy(&words);
            return Err(format!("the load test gave no report ({}): {}", status?, words.trim()).into());
        };
        Load::parse(&report)
    }
}

impl Load {
    fn parse(report: &[u8]) -> Result<Self, BoxError> {
        let unreadable = |error| format!("could not read the load test's report: {error}");
        let json: Value = serde_json::from_slice(report).map_err(unreadable)?;
        let figures = Figures::deserialize(&json).map_err(unreadable)?;
        Ok(Self { json, figures })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_report_is_kept_whole_and_read_where_needed() {
        let report = br#"{"version":"0.1.0","mode":"concurrent","succeeded":90,"failed":10,
            "throughput_per_second":45.5,"latency_ms":{"p50":1.5,"p99":null},"errors":{"status":10}}"#;
        let load = Load::parse(report).unwrap();
        assert_eq!(load.json["errors"]["status"], 10);
        assert_eq!((load.figures.succeeded, load.figures.failed), (90, 10));
        assert_eq!(
            (load.figures.latency_ms.p50, load.figures.latency_ms.p99),
            (Some(1.5), None)
        );
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        assert!(Load::parse(b"{}").is_err());
        assert!(Load::parse(b"").is_err());
    }
}
