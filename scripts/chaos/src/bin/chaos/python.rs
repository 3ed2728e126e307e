//! Workers in Python: examples/worker.py, around a handler that notes its runs as `chaos-worker` does
//! (scripts/chaos/worker.py). They are started, hit and judged like all workers.

use std::path::PathBuf;
use std::process::Stdio;

use testbed::process::bare;
use tokio::process::Command;

/// What they are started with.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    packages: PathBuf,
}

impl Python {
    /// Has redis-py installed, unless it is there; or says why it cannot be had.
    pub(crate) async fn find() -> Result<Self, String> {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../redis-py"));
        script.stdin(Stdio::null()).kill_on_drop(true);
        let done = script.output().await;
        let done = done.map_err(|error| format!("scripts/redis-py could not run: {error}"))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let last = said.lines().last().unwrap_or_default();
            return Err(format!("scripts/redis-py ended with {}: {last}", done.status));
        }
        let packages = String::from_utf8_lossy(&done.stdout).trim().into();
        Ok(Self { packages })
    }

    /// One of them, still without its variables.
    pub(crate) fn command(&self) -> Command {
        let mut command = bare("python3");
        command
            // Without files of its own beside the sources.
            .arg("-B")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/worker.py"))
            .env("PYTHONPATH", &self.packages);
        command
    }
}
