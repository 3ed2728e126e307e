//! The simulation: the ingress and the worker as shipped, several of each in one process, on a clock of its own, over
//! the in-memory backend behind a seam that breaks what a seed says. Thousands of histories a minute, each repeatable.

mod caller;
mod cli;
mod entropy;
mod fleet;
mod history;
mod link;
mod log;
mod member;
mod plan;
mod rules;
mod server;
mod table;
mod upstream;
mod weather;
mod world;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser as _;

use crate::cli::Cli;
use crate::fleet::Played;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long one history may take, on the clock at the wall. Most take some hundredths of a second.
const LONGEST: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.seed {
        Some(seed) => one(seed, &cli),
        None => many(&cli),
    }
}

/// Plays one history here.
fn one(seed: u64, cli: &Cli) -> ExitCode {
    // A history that hangs says so, and is not waited for.
    thread::spawn(|| {
        thread::sleep(LONGEST);
        say(&format!("it did not end within {LONGEST:?}"));
        std::process::exit(3);
    });
    // Some work panics on purpose, and is answered.
    std::panic::set_hook(Box::new(|panic| {
        if !panic.to_string().contains("by the seed") {
            say(&panic.to_string());
        }
    }));
    let played = history::play(seed, !cli.report, cli.work.map(Some).or(cli.story.then_some(None)));
    let (verdict, stories) = match played {
        Ok(played) => played,
        Err(sentence) => {
            say(&format!("error: {sentence}"));
            return ExitCode::from(2);
        }
    };
    if cli.report {
        print(&serde_json::to_string(&verdict).expect("a verdict is always JSON"));
        return ExitCode::SUCCESS;
    }
    print(&table::of_one(&verdict, &stories));
    ExitCode::from(u8::from(!verdict.broken.is_empty()))
}

/// Plays many, each in a process of its own.
fn many(cli: &Cli) -> ExitCode {
    let began = Instant::now();
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let jobs = cli.jobs.map_or_else(cores, usize::from);
    let played = fleet::play(cli.from, cli.seeds.get(), jobs, cli.keep_going);
    print(&table::of_many(&played, began.elapsed()));
    let mut failed = ExitCode::SUCCESS;
    for one in &played {
        match one {
            Played::Verdict(verdict) if verdict.broken.is_empty() => {}
            Played::Verdict(verdict) => {
                if failed == ExitCode::SUCCESS {
                    failed = ExitCode::from(1);
                    tell(verdict.seed);
                }
            }
            Played::Broke(seed, why) => {
                say(&format!(
                    "error: the history of seed {seed} was cut in the middle: {why}"
                ));
                return ExitCode::from(2);
            }
        }
    }
    failed
}

/// Tells the story of a seed, by playing it again.
fn tell(seed: u64) {
    let program = std::env::current_exe().expect("this program is there");
    let again = std::process::Command::new(program)
        .args(["--seed", &seed.to_string()])
        .status();
    if let Err(error) = again {
        say(&format!("error: could not play seed {seed} again: {error}"));
    }
}

#[allow(clippy::print_stdout)] // it is the program's output
fn print(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr)] // it is the program's output
fn say(sentence: &str) {
    eprintln!("{sentence}");
}
