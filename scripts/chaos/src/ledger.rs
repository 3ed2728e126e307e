//! The ledger: a line for each time a handler began to work on a request, in a file. A line is one write to the end
//! of the file, so that workers that are killed halfway neither lose nor mix lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use checker::Run;
use checker::nonce::Nonce;

/// The variable that names the ledger's file to a worker.
pub const VARIABLE: &str = "CHAOS_LEDGER";

/// A worker's end of the ledger.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    pid: u32,
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
        })
    }

    /// Notes that work on `nonce` begins.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn note(&self, nonce: Nonce, delivery: u32) -> io::Result<()> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("{nonce} {delivery} {} {}\n", self.pid, wall.as_micros());
        (&self.file).write_all(line.as_bytes())
    }
}

/// Reads a ledger; a file that is not there yet is an empty one. Its times count from `begin`.
///
/// # Errors
/// When the file cannot be read, or a line is none of ours.
pub fn read(path: &Path, begin: SystemTime) -> io::Result<Vec<Run>> {
    let begin = begin.duration_since(UNIX_EPOCH).unwrap_or_default();
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(|text| line(text, begin)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn line(line: &str, begin: Duration) -> io::Result<Run> {
    let read = || {
        let mut words = line.split(' ');
        let run = Run {
            nonce: words.next()?.parse().ok()?,
            delivery: words.next()?.parse().ok()?,
            worker: words.next()?.parse().ok()?,
            at: Duration::from_micros(words.next()?.parse().ok()?).saturating_sub(begin),
        };
        words.next().is_none().then_some(run)
    };
    read().ok_or_else(|| io::Error::other(format!("not a line of the ledger: {line:?}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use checker::nonce::Temper;

    #[test]
    fn two_writers_share_a_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let begin = SystemTime::now();
        assert_eq!(read(&path, begin).unwrap(), []);
        let (one, other) = (Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap());
        let nonce = |number| Nonce {
            temper: Temper::Good,
            run: 1,
            number,
        };
        one.note(nonce(1), 1).unwrap();
        other.note(nonce(2), 3).unwrap();
        one.note(nonce(3), 1).unwrap();
        let runs = read(&path, begin).unwrap();
        let short: Vec<_> = runs.iter().map(|run| (run.nonce.number, run.delivery)).collect();
        assert_eq!(short, [(1, 1), (2, 3), (3, 1)]);
        assert_eq!(runs[0].worker, std::process::id());
        assert!(runs[0].at <= runs[1].at && runs[2].at <= begin.elapsed().unwrap());
    }

    #[test]
    fn a_broken_line_is_not_passed_over() {
        assert!(line("good-00000001-1 1 2", Duration::ZERO).is_err());
        assert!(line("good-00000001-1 1 2 3 4", Duration::ZERO).is_err());
    }
}
