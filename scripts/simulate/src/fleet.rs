//! Many histories, each in a process of its own: nothing that one leaves behind, in memory or in statics, changes
//! another, so that a seed alone says what happens.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::history::Verdict;

/// What came of one seed.
#[derive(Debug)]
pub(crate) enum Played {
    Verdict(Verdict),
    /// It could not be played to its end: why.
    Broke(u64, String),
}

/// Plays `count` seeds from `from` on, `jobs` at a time; stops early at the first that is not well, unless it is to
/// keep going.
pub(crate) fn play(from: u64, count: u64, jobs: usize, keep_going: bool) -> Vec<Played> {
    let (next, stop, all) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let played = play_one(from.wrapping_add(number));
                    let is_well = matches!(&played, Played::Verdict(verdict) if verdict.broken.is_empty());
                    if !is_well && !keep_going {
                        stop.store(true, Ordering::Relaxed);
                    }
                    all.lock().expect("nothing panics with the list").push(played);
                }
            });
        }
    });
    let mut all = all.into_inner().expect("nothing panics with the list");
    all.sort_by_key(Played::seed);
    all
}

impl Played {
    fn seed(&self) -> u64 {
        match self {
            Self::Verdict(verdict) => verdict.seed,
            Self::Broke(seed, _) => *seed,
        }
    }
}

fn play_one(seed: u64) -> Played {
    match played(seed) {
        Ok(verdict) => Played::Verdict(verdict),
        Err(why) => Played::Broke(seed, why),
    }
}

fn played(seed: u64) -> Result<Verdict, String> {
    let program = std::env::current_exe().map_err(|error| format!("could not find this program: {error}"))?;
    let output = Command::new(program)
        .args(["--report", "--seed", &seed.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not start a process: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().next_back().unwrap_or("it said nothing");
        return Err(format!("it ended with {}: {last}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("it was cut off: {error}"))
}
