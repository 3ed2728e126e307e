//! A service as a process: its command line, its log, its runtime, how it stops.

pub mod command_line;
pub mod healthcheck;
pub mod listener;
pub mod logging;
pub mod runtime;
pub mod shutdown;
pub mod task;
pub mod value_parsers;

/// This machine's name, for names of instances and consumers that people read.
#[must_use]
pub fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "host".to_owned(), |name| name.trim().to_owned())
}
