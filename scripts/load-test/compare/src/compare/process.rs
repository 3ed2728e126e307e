//! Processes the comparison starts. Each ends with its value, with all it started itself.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{BoxError, cpu};

/// How long a killed process may take to be gone: it only has to be scheduled once more.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of a log an error quotes.
const LOG_LINES: usize = 5;

/// A running process, its output in a log file.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in `directory`, without the environment of this process but for `PATH`: a variable set for
    /// something else shall not change what is measured.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &'static str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, String)],
        directory: &Path,
    ) -> Result<Self, BoxError> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("could not start {}: {error}", program.display()))?;
        Ok(Self { name, child, log })
    }

    /// CPU time so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu::time_of_tree(self.child.id())
    }

    /// Fails when the process has ended, with the end of its log.
    pub(crate) fn check(&mut self) -> Result<(), BoxError> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended ({status}): {}", self.name, self.last_words()).into()),
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked for before the child ends: orphans are nobody's descendants.
        let descendants = cpu::descendants(self.child.id());
        for pid in descendants.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + KILL_TIMEOUT;
        while descendants.iter().any(|pid| cpu::is_running(*pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A port of the loopback interface that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, BoxError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(script: &str, directory: &Path) -> Process {
        Process::start("shell", Path::new("/bin/sh"), ["-c", script], &[], directory).unwrap()
    }

    #[test]
    fn a_process_ends_with_its_value_and_takes_along_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("sleep 60 & wait", directory.path());
        let shell = process.child.id();
        let sleep = loop {
            if let Some(pid) = cpu::descendants(shell).first() {
                break *pid;
            }
        };
        drop(process);
        assert!(!cpu::is_running(shell) && !cpu::is_running(sleep));
    }

    #[test]
    fn one_that_ended_is_noticed_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo no such port >&2; exit 3", directory.path());
        let error = loop {
            if let Err(error) = process.check() {
                break error.to_string();
            }
        };
        assert!(
            error.contains("shell ended") && error.contains("no such port"),
            "{error}"
        );
    }
}
