//! The load-test program: parse, check that the service is there, run, report, judge.

mod cli;
mod progress;
mod table;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use load_test::engine::LoadTest;
use load_test::plan::{Mode, Plan};
use load_test::report::Report;
use load_test::{health, html, text};

use crate::cli::Cli;

/// A threshold was missed, or nothing succeeded.
const MISSED: u8 = 1;
/// There was nothing to run, or nowhere to write.
const UNUSABLE: u8 = 2;

// One thread: the load of one core is enough, and the service may need the others.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mode = cli.mode().unwrap_or_else(|error| error.exit());
    match run(&cli, mode).await {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            missed.iter().for_each(|sentence| say(sentence));
            ExitCode::from(MISSED)
        }
        Err(sentence) => {
            say(&format!("error: {sentence}"));
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Runs the test and writes its reports; the thresholds that were missed.
async fn run(cli: &Cli, mode: Mode) -> Result<Vec<String>, String> {
    // Before the run: it would be a pity to find out after an hour of load.
    check_writable("--json", cli.json.as_deref().filter(|file| *file != Path::new("-")))?;
    check_writable("--html", cli.html.as_deref())?;
    let found = health::check(&cli.url).await.map_err(|error| error.to_string())?;
    if let Some(warning) = found.warning {
        say(&format!("warning: {warning}"));
    }
    let plan = Plan {
        target: cli.url.clone(),
        address: found.address,
        mode,
        limits: cli.limits(),
        timeout: cli.timeout,
        cities: cli.cities(),
        seed: cli.seed,
    };
    let mut output = output(cli);
    let report = drive(plan, &mut *output).await;
    // A closed pipe at the other end takes nothing from the exit status.
    let _ = write!(output, "{}", text::summary(&report));
    let missed = cli.thresholds().missed(&report.summary);
    write_reports(cli, &report, &missed)?;
    Ok(missed)
}

async fn drive(plan: Plan, output: &mut dyn Write) -> Report {
    let (sequential, limits) = (plan.mode == Mode::Sequential, plan.limits);
    let test = LoadTest::new(plan);
    let recording = test.recording();
    if sequential {
        let _ = table::write_header(output);
        return test.run(|row| drop(table::write_row(output, row)), interrupted()).await;
    }
    let run = test.run(|_| {}, interrupted());
    tokio::select! {
        report = run => report,
        () = progress::show(recording, limits) => unreachable!("progress has no end of its own"),
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler Ctrl-C ends the process by itself.
        std::future::pending().await
    }
}

fn output(cli: &Cli) -> Box<dyn Write> {
    match &cli.json {
        Some(file) if file == Path::new("-") => Box::new(io::stderr()),
        _ => Box::new(io::stdout()),
    }
}

fn check_writable(flag: &str, file: Option<&Path>) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    let opened = OpenOptions::new().append(true).create(true).open(file);
    opened.map_err(|error| unwritable(flag, file, &error))?;
    Ok(())
}

fn write_reports(cli: &Cli, report: &Report, missed: &[String]) -> Result<(), String> {
    if let Some(file) = &cli.json {
        let json = serde_json::to_string_pretty(&report.summary).expect("figures are always JSON") + "\n";
        let written = match file == Path::new("-") {
            true => io::stdout().write_all(json.as_bytes()),
            false => std::fs::write(file, json),
        };
        written.map_err(|error| unwritable("--json", file, &error))?;
        if file != Path::new("-") {
            say(&format!("figures: {}", file.display()));
        }
    }
    if let Some(file) = &cli.html {
        let command: Vec<_> = std::env::args().skip(1).collect();
        let page = html::render(report, &format!("load-test {}", command.join(" ")), missed);
        std::fs::write(file, page).map_err(|error| unwritable("--html", file, &error))?;
        say(&format!("report: {}", file.display()));
    }
    Ok(())
}

fn unwritable(flag: &str, file: &Path, error: &io::Error) -> String {
    format!("{flag}: could not write {}: {error}", file.display())
}

#[allow(clippy::print_stderr)] // it is the program's output
fn say(sentence: &str) {
    eprintln!("{sentence}");
}
