//! A wall clock that can be set: a library that is loaded before a process' own, and a file that says by how much the
//! time is off. The library is made by the compiler that rustc links with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clock/shim.c");

/// A clock for the processes that are started with it.
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
        fs::write(&clock.offset, 0_i64.to_ne_bytes()).map_err(failed)?;
        Ok(clock)
    }

    /// Gives a command this clock.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_FILE", &self.offset);
    }

    /// Sets the clock so many milliseconds off the system's.
    pub(crate) fn set(&self, offset: i64) -> Result<(), String> {
        // In place: it is mapped.
        let file = OpenOptions::new().write(true).open(&self.offset);
        file.and_then(|mut file| file.write_all(&offset.to_ne_bytes()))
            .map_err(failed)
    }
}

fn failed(error: io::Error) -> String {
    format!("could not set the clock: {error}")
}
