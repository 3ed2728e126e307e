//! The chaos program: real services, a real Redis and real sockets, broken on purpose while callers ask. What passes
//! and what does not is decided by `judging` and by the scenarios alone, from what was recorded.

mod answer;
mod callers;
mod cli;
mod clients;
mod cluster;
mod expect;
mod fault_proxy;
mod finding;
mod following;
mod foreign;
mod history;
mod journal;
mod judging;
mod keyspace;
mod leaks;
mod load_balancer;
mod nemesis;
mod programs;
mod progress;
mod promises;
mod python;
mod redis;
mod runner;
mod scenario;
mod settling;
mod stage;
mod step;
mod table;
mod traffic;
mod upstream;
mod wire;
mod wishes;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cli::Cli;
use crate::programs::Programs;
use crate::progress::Screen;
use crate::python::Python;
use crate::runner::{LANES, Run, Verdict};

/// The most callers of one scenario, those of another beside it, and what else is open: each who waits is a connection,
/// here and in an ingress.
const DESCRIPTORS: u64 = 16_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        for scenario in cli.scenarios() {
            print(&format!("{:<16} {}\n", scenario.id, scenario.about));
        }
        return ExitCode::SUCCESS;
    }
    // Leaving this way drops, and with that ends, every process that was started.
    let outcome = tokio::select! {
        outcome = run(&cli) => outcome,
        signal = stopped() => Err(signal),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(sentence) => {
            say(&format!("error: {sentence}"));
            ExitCode::from(2)
        }
    }
}

/// Waits until somebody wants it to end.
async fn stopped() -> String {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return "could not listen for signals".to_owned();
    };
    tokio::select! {
        _ = terminate.recv() => "terminated".to_owned(),
        _ = tokio::signal::ctrl_c() => "interrupted".to_owned(),
    }
}

/// Whether everything was as expected.
async fn run(cli: &Cli) -> Result<bool, String> {
    if let Some(file) = &cli.json {
        // Before the run: it would be a pity to find out after minutes.
        write(file, "")?;
    }
    testbed::limits::allow_open_files(DESCRIPTORS)?;
    let mut programs = Programs::find(cli.services.as_deref()).await?;
    if cli.scenarios().iter().any(|scenario| scenario.has_python(cli.profile)) {
        programs.python = Python::find().await;
        if let Err(why) = &programs.python {
            print(&format!("skipped: workers in Python, as {why}\n"));
        }
    }
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    print(&format!("seed {seed}\n"));
    let run = Run {
        programs,
        profile: cli.profile,
        seed,
        screen: Screen::new(),
        lanes: Arc::new(Semaphore::new(LANES as usize)),
    };
    let mut playing = JoinSet::new();
    let mut scenarios: Vec<_> = cli.scenarios().into_iter().enumerate().collect();
    // What takes longest to clean up begins first: it does so beside the others.
    scenarios.sort_by_key(|(_, scenario)| std::cmp::Reverse(scenario.settling(cli.profile)));
    for (place, scenario) in scenarios {
        let run = run.clone();
        playing.spawn(async move { (place, runner::run(run, scenario).await) });
        // In the order in which they ask for a lane.
        tokio::task::yield_now().await;
    }
    let mut verdicts = Vec::new();
    while let Some(played) = playing.join_next().await {
        verdicts.push(played.map_err(|error| format!("a scenario broke: {error}"))?);
    }
    verdicts.sort_by_key(|(place, _)| *place);
    let verdicts: Vec<Verdict> = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
    print(&format!("\n{}seed {seed}\n", table::of(&verdicts)));
    if let Some(file) = &cli.json {
        let json = serde_json::to_string(&verdicts).expect("a verdict is always JSON");
        write(file, &json)?;
    }
    Ok(verdicts.iter().all(Verdict::passed))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("could not write {}: {error}", file.display()))
}

#[allow(clippy::print_stdout)] // it is the program's output
fn print(text: &str) {
    print!("{text}");
}

#[allow(clippy::print_stderr)] // it is the program's output
fn say(sentence: &str) {
    eprintln!("{sentence}");
}
