//! A process of ours. Its output goes to a file that is quoted when it fails; it is ended by its id alone, and never
//! outlives its value.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::usage;

/// Of the output of a process that failed, the last lines say why.
const QUOTED_LINES: usize = 5;

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    child: Child,
    output: PathBuf,
}

/// The signals a process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Stop,
    Continue,
}

/// A program without any variable that this process has by accident.
pub(crate) fn bare(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

impl Process {
    /// Starts `command`; `name` is unique in `directory`.
    pub(crate) fn start(name: String, mut command: Command, directory: &Path) -> Result<Self, String> {
        let output = directory.join(format!("{name}.log"));
        let failed = |error: std::io::Error| format!("could not start {name}: {error}");
        let file = File::create(&output).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?);
        command.stderr(file).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().expect("a process that was not awaited has an id");
        Ok(Self {
            name,
            pid,
            child,
            output,
        })
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), String> {
        let killed = self.child.kill().await;
        killed.map_err(|error| format!("could not kill {}: {error}", self.name))
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), String> {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let sent = Command::new("kill").args([name, &self.pid.to_string()]).status().await;
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("could not send {name} to {}: {status}", self.name)),
            Err(error) => Err(format!("could not send {name} to {}: {error}", self.name)),
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        match timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(format!("could not wait for {}: {error}", self.name)),
            Err(_) => Err(self.quoted(&format!("it did not end within {patience:?}"))),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Memory and descriptors it has now; `None` when it is gone.
    pub(crate) fn usage(&self) -> Option<usage::Usage> {
        usage::of(self.pid)
    }

    /// A sentence about this process, with the end of its output.
    pub(crate) fn quoted(&self, sentence: &str) -> String {
        let output = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n    ");
        format!("{}: {sentence}\n    {last}", self.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sleeper(directory: &Path) -> Process {
        let mut command = Command::new("sleep");
        command.arg("60");
        Process::start("sleep".to_owned(), command, directory).unwrap()
    }

    #[tokio::test]
    async fn a_killed_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = sleeper(directory.path());
        assert!(process.usage().is_some());
        process.kill().await.unwrap();
        assert!(process.usage().is_none() && process.has_ended().is_some());
    }

    #[tokio::test]
    async fn a_process_that_failed_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no license >&2; exit 3"]);
        let mut process = Process::start("sh".to_owned(), command, directory.path()).unwrap();
        let status = process.ended(Duration::from_secs(50)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(process.quoted("it ended").contains("no license"));
    }

    #[tokio::test]
    async fn a_terminated_process_ends() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = sleeper(directory.path());
        process.signal(Signal::Stop).await.unwrap();
        process.signal(Signal::Continue).await.unwrap();
        process.signal(Signal::Terminate).await.unwrap();
        assert!(!process.ended(Duration::from_secs(50)).await.unwrap().success());
    }
}
