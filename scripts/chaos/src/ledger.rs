//! The ledger: a line for each time a handler began to work on a request, in a file. A line is one write to the end
//! of the file, so that workers that are killed halfway neither lose nor mix lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::nonce::Nonce;

/// The variable that names the ledger's file to a worker.
pub const VARIABLE: &str = "CHAOS_LEDGER";

/// A worker's end of the ledger.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    pid: u32,
    started: Instant,
}

/// One time that a handler began to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Run {
    /// On what.
    pub nonce: Nonce,
    /// In which delivery; the first is 1.
    pub delivery: u32,
    /// In which process.
    pub pid: u32,
    /// How long that process had been running.
    pub uptime: Duration,
    /// When, since the Unix epoch.
    pub wall: Duration,
}

impl Ledger {
    /// Opens the ledger to write to its end.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            pid: std::process::id(),
            started: Instant::now(),
        })
    }

    /// Notes that work on `nonce` begins.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn note(&self, nonce: Nonce, delivery: u32) -> io::Result<()> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let uptime = self.started.elapsed();
        let line = format!(
            "{nonce} {delivery} {} {} {}\n",
            self.pid,
            uptime.as_micros(),
            wall.as_micros()
        );
        (&self.file).write_all(line.as_bytes())
    }
}

/// Reads a ledger; a file that is not there yet is an empty one.
///
/// # Errors
/// When the file cannot be read, or a line is none of ours.
pub fn read(path: &Path) -> io::Result<Vec<Run>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(line).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn line(line: &str) -> io::Result<Run> {
    let read = || {
        let mut words = line.split(' ');
        let run = Run {
            nonce: words.next()?.parse().ok()?,
            delivery: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            uptime: Duration::from_micros(words.next()?.parse().ok()?),
            wall: Duration::from_micros(words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(run)
    };
    read().ok_or_else(|| io::Error::other(format!("not a line of the ledger: {line:?}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::nonce::Temper;

    #[test]
    fn two_writers_share_a_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        assert_eq!(read(&path).unwrap(), []);
        let (one, other) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        let nonce = |number| Nonce {
            temper: Temper::Good,
            run: 1,
            number,
        };
        one.note(nonce(1), 1).unwrap();
        other.note(nonce(2), 3).unwrap();
        one.note(nonce(3), 1).unwrap();
        let runs = read(&path).unwrap();
        let short: Vec<_> = runs.iter().map(|run| (run.nonce.number, run.delivery)).collect();
        assert_eq!(short, [(1, 1), (2, 3), (3, 1)]);
        assert_eq!(runs[0].pid, std::process::id());
    }

    #[test]
    fn a_broken_line_is_not_passed_over() {
        assert!(line("good-00000001-1 1 2").is_err());
        assert!(line("good-00000001-1 1 2 3 4 5").is_err());
    }
}
