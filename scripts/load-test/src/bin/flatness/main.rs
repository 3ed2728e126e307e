//! The flatness program: how the cost of a request grows along an axis. Every point of an axis gets servers and
//! services of its own, and points take turns within a round, so that a slow minute of the machine hits all of them.

mod axis;
mod cli;
mod cluster;
mod load;
mod machine;
mod results;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;

use crate::axis::Axis;
use crate::cli::Cli;
use crate::cluster::Programs;
use crate::machine::Machine;
use crate::results::Table;

/// The slowest point, a million entries to drain, takes half a minute; one that hangs must not hold up the rest.
const POINT_TIMEOUT: Duration = Duration::from_secs(180);

/// What `--json` gets.
#[derive(Serialize)]
struct Findings<'a> {
    machine: &'a Machine,
    seconds: u64,
    axes: &'a [Table],
}

// One thread: the services may need the other cores.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Leaving this way drops, and with that ends, every process that was started.
    let outcome = tokio::select! {
        outcome = run(&cli) => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            say(&format!("error: {sentence}"));
            ExitCode::from(2)
        }
    }
}

async fn run(cli: &Cli) -> Result<(), String> {
    for file in [&cli.json, &cli.markdown].into_iter().flatten() {
        // Before the run: it would be a pity to find out after minutes of load.
        write(file, "")?;
    }
    let programs = Programs::find(cli.services.as_deref()).await?;
    let machine = Machine::read().await?;
    let mut markdown = format!("{machine}\n");
    print(&markdown);
    let mut tables = Vec::new();
    for axis in cli.axes() {
        let table = measure(axis, cli, &programs).await?;
        let text = table.to_string();
        print(&text);
        markdown.push_str(&text);
        tables.push(table);
    }
    if let Some(file) = &cli.markdown {
        write(file, &markdown)?;
    }
    if let Some(file) = &cli.json {
        let findings = Findings {
            machine: &machine,
            seconds: cli.seconds,
            axes: &tables,
        };
        let json = serde_json::to_string_pretty(&findings).expect("figures are always JSON");
        write(file, &(json + "\n"))?;
    }
    Ok(())
}

async fn measure(axis: Axis, cli: &Cli, programs: &Programs) -> Result<Table, String> {
    let mut table = axis.table();
    for round in 1..=cli.rounds {
        let mut values = Vec::new();
        for (index, point) in table.points.iter().enumerate() {
            say(&format!("{} {point}, round {round} of {}", axis.name(), cli.rounds));
            let window = Duration::from_secs(cli.seconds);
            let measured = tokio::time::timeout(POINT_TIMEOUT, axis.measure(index, programs, window)).await;
            let measured = measured.unwrap_or_else(|_| Err(format!("gave up after {POINT_TIMEOUT:?}")));
            values.push(measured.map_err(|error| format!("{} {point}: {error}", axis.name()))?);
        }
        table.rounds.push(values);
    }
    Ok(table)
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("could not write {}: {error}", file.display()))
}

#[allow(clippy::print_stdout)] // it is the program's output
fn print(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr)] // it is the program's output
fn say(sentence: &str) {
    eprintln!("{sentence}");
}
