//! Many histories, each in a process of its own: nothing that one leaves behind, in memory or in statics, changes
//! another, so that a seed alone says what happens.

use std::process::{Command, Output, Stdio};
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

/// Every so many histories are played a second time, to see that nothing but the seed decides.
const PLAYED_TWICE: u64 = 50;

fn play_one(seed: u64) -> Played {
    let mut played = played(seed);
    if seed.is_multiple_of(PLAYED_TWICE)
        && let (Ok(first), Ok(second)) = (&played, self::played(seed))
        && first.digest != second.digest
    {
        played = Err("played again, it went another way: something in it does not come from the seed".to_owned());
    }
    match played {
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
    read(&output)
}

/// The verdict that a process gave.
fn read(output: &Output) -> Result<Verdict, String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().next_back().unwrap_or("it said nothing");
        return Err(format!("it ended with {}: {last}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("its verdict is none: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn output(status: i32, out: &str, err: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(status),
            stdout: out.into(),
            stderr: err.into(),
        }
    }

    #[test]
    fn a_history_that_is_cut_in_the_middle_says_how() {
        let cut = |status, out, err| read(&output(status, out, err)).map(|verdict| verdict.seed).unwrap_err();
        assert!(cut(9, "", "").contains("signal: 9"), "killed");
        assert!(
            cut(3 << 8, "", "one\nit did not end within 120s").ends_with("exit status: 3: it did not end within 120s")
        );
        assert!(cut(0, "{\"seed\":1,\"theme\":\"ca", "").contains("its verdict is none: EOF"));
        assert!(cut(0, "", "").contains("its verdict is none"));
    }
}
