//! A process of ours. Its output goes to files that are quoted when it fails; it is ended by its id alone, and neither
//! it nor what it started outlives its value.

use std::ffi::OsStr;
use std::fs::{File, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::proc_stat;
use crate::wait::POLL_INTERVAL;

pub use rustix::process::Signal;

/// Of the output of a process that failed, the last lines say why.
const QUOTED_LINES: usize = 5;

/// How long a killed process may take to be gone: it only has to be scheduled once more.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A running process.
#[derive(Debug)]
pub struct Process {
    /// What it is called in errors.
    pub name: String,
    /// Its id.
    pub pid: u32,
    child: Child,
    /// The files of its output.
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program without any variable that this process has by accident.
pub fn bare(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    // What a program needs anywhere, and what measures its coverage.
    for name in ["PATH", "LLVM_PROFILE_FILE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

impl Process {
    /// Starts `command`; `name` is unique in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: impl Into<String>, mut command: Command, directory: &Path) -> Result<Self, String> {
        let name = name.into();
        let (stdout, stderr) = (
            directory.join(format!("{name}.out")),
            directory.join(format!("{name}.err")),
        );
        let failed = |error: std::io::Error| format!("could not start {name}: {error}");
        command.stdin(Stdio::null());
        command.stdout(File::create(&stdout).map_err(failed)?);
        command.stderr(File::create(&stderr).map_err(failed)?);
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().expect("a process that was not awaited has an id");
        Ok(Self {
            name,
            pid,
            child,
            stdout,
            stderr,
        })
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> Result<(), String> {
        let killed = self.child.kill().await;
        killed.map_err(|error| format!("could not kill {}: {error}", self.name))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        match self.child.id() {
            // Not awaited yet, so the id is nobody else's.
            Some(pid) => {
                send(pid, signal).map_err(|error| format!("could not send a signal to {}: {error}", self.name))
            }
            None => Err(format!("could not send a signal to {}: it has ended", self.name)),
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not `within` that time.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus, String> {
        match timeout(within, self.child.wait()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(format!("could not wait for {}: {error}", self.name)),
            Err(_) => Err(self.quoted(&format!("it did not end within {within:?}"))),
        }
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it has ended, with what it said.
    pub fn check(&mut self) -> Result<(), String> {
        match self.has_ended() {
            None => Ok(()),
            Some(status) => Err(self.quoted(&format!("it ended with {status}"))),
        }
    }

    /// Asks it until it answers.
    ///
    /// # Errors
    /// When it ends before, or does not answer `within` that time.
    pub async fn answers<T, F>(&mut self, within: Duration, mut ask: impl FnMut() -> F) -> Result<T, String>
    where
        F: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = ask().await {
                return Ok(answer);
            }
            self.check()?;
            if Instant::now() > deadline {
                return Err(self.quoted(&format!("it does not answer within {within:?}")));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// User and system time so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration, String> {
        proc_stat::cpu(self.pid).map_err(|error| self.quoted(&error))
    }

    /// The same, with all that it started: RabbitMQ is a shell script around the Erlang VM.
    #[must_use]
    pub fn cpu_of_tree(&self) -> Duration {
        proc_stat::cpu_of_tree(self.pid)
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> Result<u64, String> {
        proc_stat::resident(self.pid).map_err(|error| self.quoted(&error))
    }

    /// Open descriptors.
    ///
    /// # Errors
    /// When it has ended.
    pub fn descriptors(&self) -> Result<u64, String> {
        proc_stat::descriptors(self.pid).map_err(|error| self.quoted(&error))
    }

    /// What it has said on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has said on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_to_string(&self.stderr).unwrap_or_default()
    }

    /// A sentence about this process, with the end of its output.
    #[must_use]
    pub fn quoted(&self, sentence: &str) -> String {
        let output = self.stdout() + &self.stderr();
        let lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n    ");
        format!("{}: {sentence}\n    {last}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once it was awaited, its id may be somebody else's.
        let Some(pid) = self.child.id() else { return };
        // Asked for before it ends: orphans are nobody's descendants.
        let mut all = proc_stat::descendants(pid);
        all.push(pid);
        for pid in &all {
            let _ = send(*pid, Signal::KILL);
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        while all.iter().any(|pid| proc_stat::is_running(*pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn send(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.ok_or(rustix::io::Errno::SRCH)?, signal)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wait::PATIENCE;

    fn shell(script: &str, directory: &Path) -> Process {
        let mut command = bare("sh");
        command.args(["-c", script]);
        Process::start("shell", command, directory).unwrap()
    }

    #[tokio::test]
    async fn a_killed_process_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 60", directory.path());
        assert!(process.check().is_ok() && process.resident().is_ok() && process.cpu().is_ok());
        process.kill().await.unwrap();
        assert!(process.resident().is_err() && process.cpu().is_err() && process.has_ended().is_some());
        assert!(process.signal(Signal::TERM).unwrap_err().contains("it has ended"));
    }

    #[tokio::test]
    async fn a_process_ends_with_its_value_and_takes_along_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("sleep 60 & wait", directory.path());
        let shell = process.pid;
        let sleep = loop {
            if let Some(pid) = proc_stat::descendants(shell).first() {
                break *pid;
            }
        };
        drop(process);
        assert!(!proc_stat::is_running(shell) && !proc_stat::is_running(sleep));
    }

    #[tokio::test]
    async fn one_that_failed_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo no license >&2; exit 3", directory.path());
        let error = process.answers(PATIENCE, || async { None::<()> }).await.unwrap_err();
        for part in ["shell: it ended with exit status: 3", "no license"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(process.ended(PATIENCE).await.unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 60", directory.path());
        let error = process
            .answers(Duration::ZERO, || async { None::<()> })
            .await
            .unwrap_err();
        assert!(error.contains("does not answer"), "{error}");
        assert_eq!(process.answers(PATIENCE, || async { Some(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn one_that_is_asked_to_end_does() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("exec sleep 60", directory.path());
        for signal in [Signal::STOP, Signal::CONT, Signal::TERM] {
            process.signal(signal).unwrap();
        }
        assert!(!process.ended(PATIENCE).await.unwrap().success());
    }

    #[tokio::test]
    async fn one_that_is_not_installed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let started = Process::start("redis-server", bare("/nowhere/redis-server"), directory.path());
        let error = started.unwrap_err();
        assert!(error.starts_with("could not start redis-server"), "{error}");
    }
}
