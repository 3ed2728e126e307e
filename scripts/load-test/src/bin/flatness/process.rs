//! A process of ours: its output goes to a file that is quoted when it fails, and it never outlives its value.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::usage;

/// Of the output of a process that failed, the last lines say why.
const QUOTED_LINES: usize = 5;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    pid: u32,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`, which serves at `address`; `name` is unique in `directory`.
    pub(crate) fn start(name: &str, address: SocketAddr, command: Command, directory: &Path) -> Result<Self, String> {
        let mut command = command;
        let output = directory.join(format!("{name}.log"));
        let failed = |error: std::io::Error| format!("could not start {name}: {error}");
        let file = File::create(&output).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?);
        command.stderr(file).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().expect("a process that was not awaited has an id");
        Ok(Self {
            name: name.to_owned(),
            address,
            pid,
            child,
            output,
        })
    }

    /// User and system time so far.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        usage::cpu(self.pid).map_err(|error| self.with_output(&error))
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, String> {
        usage::resident(self.pid).map_err(|error| self.with_output(&error))
    }

    /// Fails with what it said when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.with_output(&format!("it ended with {status}"))),
            Err(error) => Err(self.with_output(&format!("it cannot be asked: {error}"))),
        }
    }

    /// Kills it, and waits until it is gone: nothing of it is measured any more.
    pub(crate) async fn end(mut self) {
        let _ = self.child.kill().await;
    }

    /// A sentence about this process, with the end of its output.
    pub(crate) fn with_output(&self, sentence: &str) -> String {
        let output = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n    ");
        format!("{}: {sentence}\n    {last}", self.name)
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map_err(|error| format!("could not find a free port: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ended_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no license >&2; exit 3"]);
        let mut process = Process::start("sh", free_address().unwrap(), command, directory.path()).unwrap();
        process.child.wait().await.unwrap();
        let error = process.check().unwrap_err();
        assert!(
            error.contains("exit status: 3") && error.contains("no license"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn ending_a_process_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::start("sleep", free_address().unwrap(), command, directory.path()).unwrap();
        let pid = process.pid;
        process.end().await;
        assert!(usage::cpu(pid).is_err());
    }
}
