//! Compares Roundtrip with its peers on this machine: starts them all, puts the same load on each in interleaved
//! rounds, and writes a table, a plot and the raw figures. Whatever it starts ends with it.

mod environment;
mod lineup;
mod load;
mod process;
mod programs;
mod report;
mod rounds;
mod running;
mod servers;
mod stats;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use environment::{Environment, client_crates};
use lineup::Peer;
use load::LoadTest;
use programs::Programs;
use report::{Entry, Results};
use rounds::Measurement;
use running::Running;

/// Any failure: the sentence says what was tried.
type BoxError = Box<dyn Error + Send + Sync>;

/// How long idle CPU is observed: its clock ticks 100 times a second.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// Compares Roundtrip with plain HTTP, NATS, JetStream and RabbitMQ on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Rounds; in each every peer takes its turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Length of one measurement, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Connections of the load, each with one request in flight: a measurement for each number
    #[arg(long, value_delimiter = ',', default_value = "1,64,256", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: Vec<u32>,

    /// Who is compared [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    peers: Vec<Peer>,

    /// Where the results go [default: target/compare in the repository]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The load-test program [default: built from this repository]
    #[arg(long, value_name = "PATH")]
    load_test: Option<PathBuf>,

    /// Install missing servers with apt-get first
    #[arg(long)]
    install: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the run ends every process it started.
    let outcome = tokio::select! {
        outcome = compare(Args::parse()) => outcome,
        stopped = stopped() => stopped,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(args: Args) -> Result<(), BoxError> {
    let peers = match args.peers.is_empty() {
        true => Peer::value_variants().to_vec(),
        false => distinct(&args.peers),
    };
    if args.install {
        programs::install(&peers).await?;
    }
    let programs = Programs::prepare(args.load_test).await?;
    let out = args
        .out
        .unwrap_or_else(|| programs::repository().join("target/compare"));
    std::fs::create_dir_all(&out).map_err(|error| format!("could not make {}: {error}", out.display()))?;
    let out = out.canonicalize()?;
    // Beside the results, not in /tmp: that is often in memory, where fsync costs nothing.
    let scratch = tempfile::Builder::new().prefix("servers-").tempdir_in(&out)?;
    let load = LoadTest::new(&programs.load_test, scratch.path());

    let mut results = Results {
        environment: Environment::read(scratch.path()),
        rounds: args.rounds,
        seconds: args.seconds,
        connections: distinct(&args.connections),
        entries: Vec::new(),
        measurements: Vec::new(),
    };
    let mut lineup = start(&peers, &programs, scratch.path(), &mut results.entries).await;
    if lineup.is_empty() {
        return Err("no peer could be started".into());
    }
    observe(&lineup, &load, &mut results).await;

    for round in 1..=args.rounds {
        for index in rounds::order(round, lineup.len()) {
            for connections in results.connections.clone() {
                let running = &mut lineup[index];
                let measurement = rounds::measure(round, running, &load, connections, args.seconds).await;
                println!("{}", progress(&measurement, args.rounds));
                results.measurements.push(measurement);
            }
        }
        results.write(&out)?;
    }
    println!("\n{}", results.tables());
    println!("wrote {}", out.join("compare.{md,svg,json}").display());
    Ok(())
}

/// Starts all peers; who cannot take part is among `entries`, with the reason.
async fn start(peers: &[Peer], programs: &Programs, scratch: &Path, entries: &mut Vec<Entry>) -> Vec<Running> {
    let mut lineup = Vec::new();
    for &peer in peers {
        let mut entry = Entry {
            peer,
            server_version: None,
            client_crates: client_crates(peer),
            idle: Err(String::new()),
        };
        match Running::start(peer, programs, scratch).await {
            Ok(running) => {
                println!("{} is up", peer.name());
                entry.server_version = running.broker_version().map(str::to_owned);
                lineup.push(running);
            }
            Err(error) => {
                eprintln!("{} is skipped: {error}", peer.name());
                entry.idle = Err(error.to_string());
            }
        }
        entries.push(entry);
    }
    lineup
}

/// Warms every peer up, then looks at what each costs while all are idle.
async fn observe(lineup: &[Running], load: &LoadTest, results: &mut Results) {
    let most = results.connections.iter().max().copied().unwrap_or(1);
    for running in lineup {
        if let Err(error) = rounds::warm_up(running, load, most).await {
            eprintln!("could not warm {} up: {error}", running.peer.name());
        }
    }
    for (running, idle) in lineup.iter().zip(rounds::idle(lineup, IDLE_TIME).await) {
        let entry = results.entries.iter_mut().find(|entry| entry.peer == running.peer);
        if let Some(entry) = entry {
            entry.idle = Ok(idle);
        }
    }
}

/// `values` without those that came before.
fn distinct<T: PartialEq + Copy>(values: &[T]) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(*value);
        }
    }
    distinct
}

fn progress(measurement: &Measurement, rounds: u32) -> String {
    let (round, name) = (measurement.round, measurement.peer.name());
    let turn = format!("{round}/{rounds} {name:<20} {:>5} connections", measurement.connections);
    match &measurement.outcome {
        Err(error) => format!("{turn}: {error}"),
        Ok(measured) => {
            let figures = &measured.load.figures;
            let cpu = measured.cpu_micros.map_or(f64::NAN, |parts| parts.sum());
            let (throughput, failed) = (figures.throughput_per_second, figures.failed);
            format!("{turn}: {throughput:>8.0} req/s {cpu:>7.1} µs CPU {failed:>3} failed")
        }
    }
}

/// Waits for Ctrl-C, or for whatever else asks to end.
async fn stopped() -> Result<(), BoxError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Err("stopped; rounds that were complete are written".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_complete_by_default() {
        let args = Args::parse_from(["compare"]);
        assert_eq!((args.rounds, args.seconds), (5, 3));
        assert_eq!(args.connections, [1, 64, 256]);
        let args = Args::parse_from(["compare", "--peers", "nats,roundtrip-aof-always", "--connections", "8"]);
        assert_eq!(args.peers, [Peer::Nats, Peer::RoundtripAofAlways]);
    }

    #[test]
    fn what_is_named_twice_is_measured_once() {
        assert_eq!(distinct(&[64, 1, 64]), [64, 1]);
    }
}
