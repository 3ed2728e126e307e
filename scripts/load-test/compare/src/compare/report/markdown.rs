//! The tables for people.

use std::fmt::Write;

use super::{Entry, Results, Summary};
use crate::running::Parts;
use crate::stats::Ratio;

/// A value that is not there.
const NONE: &str = "–";

pub(super) fn render(results: &Results) -> String {
    let mut page = String::from("# Roundtrip and its peers on one machine\n\n");
    // Writing to a String never fails.
    let _ = write_page(&mut page, results);
    page
}

fn write_page(page: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.environment;
    writeln!(
        page,
        "{}, {} cores, Linux {}, brokers write to {}; {}. Roundtrip {}. {} interleaved rounds of {} s; load generator, \
         front, worker and broker share the cores. Absolute figures belong to this machine, the ratios say more.\n",
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.file_system,
        machine.started,
        machine.roundtrip,
        results.rounds,
        results.seconds
    )?;
    writeln!(
        page,
        "![Requests a second, and CPU per request; scales by group](compare.svg)\n"
    )?;
    for connections in &results.connections {
        write_table(page, results, *connections)?;
    }
    write_ratios(page, &results.ratios())?;
    write_failures(page, results)?;
    write_versions(page, results)
}

fn write_table(page: &mut String, results: &Results, connections: u32) -> std::fmt::Result {
    let plural = if connections == 1 { "" } else { "s" };
    writeln!(page, "## {connections} connection{plural}\n")?;
    row(
        page,
        &[
            "peer",
            "durable",
            "req/s",
            "min–max",
            "CPU µs/req",
            "front",
            "worker",
            "broker",
            "p50 ms",
            "p99 ms",
            "failed",
        ],
    )?;
    writeln!(page, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for entry in &results.entries {
        let (name, durable) = (entry.peer.name(), entry.peer.durable());
        match (&entry.idle, results.summary(entry.peer, connections)) {
            (Err(why), _) => row(page, &[name, durable, &format!("skipped: {}", cell(why))])?,
            (Ok(_), None) => row(page, &[name, durable, "no result"])?,
            (Ok(_), Some(summary)) => write_summary(page, entry, &summary)?,
        }
    }
    writeln!(page)
}

fn write_summary(page: &mut String, entry: &Entry, summary: &Summary) -> std::fmt::Result {
    let throughput = summary.throughput;
    let micros = |part: fn(&Parts) -> Option<f64>| number(summary.cpu_micros.as_ref().and_then(part), 1);
    let failed = match summary.broken {
        0 => summary.failed.to_string(),
        broken => format!("**{}; rounds without result: {broken}**", summary.failed),
    };
    row(
        page,
        &[
            entry.peer.name(),
            entry.peer.durable(),
            &number(Some(throughput.median), 0),
            &format!("{:.0}–{:.0}", throughput.min, throughput.max),
            &micros(|parts| Some(parts.sum())),
            &micros(|parts| Some(parts.front)),
            &micros(|parts| parts.worker),
            &micros(|parts| parts.broker),
            &number(summary.p50, 2),
            &number(summary.p99, 2),
            &failed,
        ],
    )
}

fn write_ratios(page: &mut String, ratios: &[Ratio]) -> std::fmt::Result {
    if ratios.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Ratios, pairwise within each round\n")?;
    row(page, &["what", "ratio", "min", "median", "max", "rounds"])?;
    writeln!(page, "|---|---|--:|--:|--:|--:|")?;
    for ratio in ratios {
        let plural = if ratio.connections == 1 { "" } else { "s" };
        let what = format!("{} at {} connection{plural}", ratio.quantity.name(), ratio.connections);
        let pair = format!("{} ÷ {}", ratio.ours.name(), ratio.theirs.name());
        let value = |value: Option<f64>| number(value, 2);
        let spread = ratio.spread.as_ref();
        row(
            page,
            &[
                &what,
                &pair,
                &value(spread.map(|spread| spread.min)),
                &value(spread.map(|spread| spread.median)),
                &value(spread.map(|spread| spread.max)),
                &spread.map_or(0, |spread| spread.count).to_string(),
            ],
        )?;
    }
    writeln!(page)
}

fn write_failures(page: &mut String, results: &Results) -> std::fmt::Result {
    let failed = |measurement: &&crate::rounds::Measurement| measurement.failed() != Some(0);
    let failures: Vec<_> = results.measurements.iter().filter(failed).collect();
    writeln!(page, "## Failures\n")?;
    if failures.is_empty() {
        return writeln!(page, "None: every request of every round was answered rightly.\n");
    }
    row(page, &["round", "peer", "connections", "what"])?;
    writeln!(page, "|--:|---|--:|---|")?;
    for failure in failures {
        let what = match &failure.outcome {
            Err(error) => cell(error),
            Ok(measured) => {
                let figures = &measured.load.figures;
                let of = figures.failed + figures.succeeded;
                format!("{} of {of} requests: {}", figures.failed, measured.load.json["errors"])
            }
        };
        let (round, connections) = (failure.round.to_string(), failure.connections.to_string());
        row(page, &[&round, failure.peer.name(), &connections, &what])?;
    }
    writeln!(page)
}

fn write_versions(page: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(page, "## Versions, and CPU when nobody asks\n")?;
    row(page, &["peer", "server", "client crates", "idle, % of a core"])?;
    writeln!(page, "|---|---|---|--:|")?;
    for entry in &results.entries {
        let server = entry.peer.server().map(|server| server.program());
        let version = entry.server_version.as_deref().unwrap_or_default();
        let server = server.map_or(NONE.to_owned(), |program| format!("{program} {version}"));
        let crates = match entry.client_crates.is_empty() {
            true => NONE.to_owned(),
            false => entry.client_crates.join(", "),
        };
        let idle = entry.idle.as_ref().ok().map(|idle| idle.sum() * 100.0);
        row(page, &[entry.peer.name(), server.trim(), &crates, &number(idle, 1)])?;
    }
    let versions = results
        .measurements
        .iter()
        .filter_map(|measurement| measurement.outcome.as_ref().ok());
    match versions.map(|measured| measured.load.figures.version.as_str()).next() {
        Some(version) => writeln!(page, "\nLoad by load-test {version}."),
        None => Ok(()),
    }
}

fn row(page: &mut String, cells: &[&str]) -> std::fmt::Result {
    writeln!(page, "| {} |", cells.join(" | "))
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

/// A text that breaks no table.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn a_row_has_medians_and_every_cell() {
        let page = render(&results());
        let row =
            "| roundtrip-redis | memory of the broker | 1600 | 1500–1700 | 15.0 | 10.0 | 5.0 | – | 1.50 | 4.00 | 0 |";
        assert!(page.contains(row), "{page}");
    }

    #[test]
    fn who_was_skipped_is_named_with_the_reason() {
        let page = render(&results());
        assert!(page.contains("| rabbitmq |") && page.contains("skipped: rabbitmq-server is not installed"));
    }

    #[test]
    fn what_failed_is_in_its_row_and_in_the_list() {
        let page = render(&results());
        assert!(page.contains("rounds without result: 1**"), "{page}");
        assert!(page.contains("| 2 | direct | 64 | front ended |"), "{page}");
    }

    #[test]
    fn a_ratio_has_its_spread_and_how_many_rounds_it_stands_on() {
        let page = render(&results());
        let row = "| throughput at 64 connections | roundtrip-redis ÷ direct | 1.50 | 1.50 | 1.50 | 1 |";
        assert!(page.contains(row), "{page}");
    }

    #[test]
    fn an_error_breaks_no_table() {
        assert_eq!(cell("a | b\nc"), "a / b c");
    }
}
