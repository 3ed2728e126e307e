//! A wall clock for redis-server that can be set: a library that is loaded before its own, and a file that says by how
//! much the time is off. The library is the one that the broker's own tests use, made by the compiler rustc links with.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testbed/src/clock/shim.c");

/// A clock of its own for the processes that are started with it.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// A clock that is right, with its files in `directory`.
    pub(crate) async fn make(directory: &Path) -> Result<Self, String> {
        let clock = Self {
            library: directory.join("clock.so"),
            offset: directory.join("clock"),
        };
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-o"]).arg(&clock.library).arg(SOURCE);
        match command.status().await {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("could not compile {SOURCE}: cc ended with {status}")),
            Err(error) => return Err(format!("could not run cc to compile {SOURCE}: {error}")),
        }
        fs::write(&clock.offset, 0_i64.to_ne_bytes()).map_err(|error| failed(&error))?;
        Ok(clock)
    }

    /// Gives a command this clock.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_FILE", &self.offset);
    }

    /// Sets the clock so many seconds off the system's.
    pub(crate) fn set(&self, seconds: i64) -> Result<(), String> {
        // In place: it is mapped.
        let file = OpenOptions::new().write(true).open(&self.offset);
        let millis = (seconds * 1000).to_ne_bytes();
        file.and_then(|mut file| file.write_all(&millis))
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> String {
    format!("could not set the clock: {error}")
}
