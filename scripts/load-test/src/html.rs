//! The report as one HTML file that needs nothing else: no script, no font, no network. It prints.

use std::fmt::Write;

use time::format_description::well_known::Rfc3339;

use crate::report::{Report, Second};
use crate::svg::{Chart, Line, escape, step};
use crate::text::{latency, one_line, percent};

const STYLE: &str = include_str!("html/style.css");
const BLUE: &str = "#1f5fa8";
const RED: &str = "#b3261e";
const GREEN: &str = "#2b7a3d";
const DASHED: &str = "6 3";

/// The report as HTML. `command` is how the load test was called, `missed` the thresholds it missed.
#[must_use]
pub fn render(report: &Report, command: &str, missed: &[String]) -> String {
    let mut html = String::new();
    write(&mut html, report, command, missed).expect("writing to a String cannot fail");
    html
}

fn write(html: &mut String, report: &Report, command: &str, missed: &[String]) -> std::fmt::Result {
    let url = escape(&report.summary.url);
    let started = report.started.replace_nanosecond(0).unwrap_or(report.started);
    let started = started.format(&Rfc3339).unwrap_or_default();
    write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load test of {url}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Load test of {url}</h1>\n<p class=\"when\">{} · {started}</p>\n",
        report.summary.mode
    )?;
    for sentence in missed {
        writeln!(html, "<p class=\"missed\">{}</p>", escape(sentence))?;
    }
    write_figures(html, report)?;
    write_latency(html, report)?;
    write_seconds(html, &report.summary.seconds, report.summary.duration_seconds)?;
    write_errors(html, report)?;
    write_conditions(html, report, command)?;
    html.push_str("</body>\n</html>\n");
    Ok(())
}

fn write_figures(html: &mut String, report: &Report) -> std::fmt::Result {
    let summary = &report.summary;
    let figures = [
        (
            format!("{:.0}", summary.throughput_per_second),
            "right answers a second",
        ),
        (percent(summary.success_rate), "of the requests succeeded"),
        (latency(summary.latency_ms.p50), "ms median latency"),
        (latency(summary.latency_ms.p99), "ms for 99 % of them"),
        (summary.requests.to_string(), "requests"),
    ];
    html.push_str("<div class=\"figures\">\n");
    for (figure, meaning) in figures {
        writeln!(html, "<p><strong>{figure}</strong> {meaning}</p>")?;
    }
    html.push_str("</div>\n");
    Ok(())
}

fn write_latency(html: &mut String, report: &Report) -> std::fmt::Result {
    html.push_str("<section>\n<h2>Latency</h2>\n<table class=\"wide\"><tr>");
    let named = report.summary.latency_ms.named();
    for (name, _) in named {
        write!(html, "<th>{name}</th>")?;
    }
    html.push_str("</tr><tr>");
    for (_, value) in named {
        write!(html, "<td>{}</td>", latency(value))?;
    }
    html.push_str("</tr></table>\n<p>In ms. Right answers and timeouts count; quick refusals would flatter.</p>\n");
    // Each factor of ten fewer remaining requests is as wide as the one before it.
    let place = |quantile: f64| -(1.0 - quantile).log10();
    let points: Vec<_> = report
        .curve
        .iter()
        .map(|(quantile, value)| (place(*quantile), Some(*value)))
        .collect();
    let last = points.last().map_or(1.0, |point| point.0).ceil().max(1.0) as usize;
    let marks = [
        "0 %",
        "90 %",
        "99 %",
        "99.9 %",
        "99.99 %",
        "99.999 %",
        "99.9999 %",
        "99.99999 %",
    ];
    let chart = Chart {
        title: "Latency by percentile",
        unit: "ms",
        x_unit: "share of the requests that were at most this slow",
        x_marks: (0..=last)
            .map(|nines| (nines as f64, marks.get(nines).copied().unwrap_or_default().to_owned()))
            .collect(),
        lines: vec![Line {
            name: "latency",
            colour: BLUE,
            dashes: "",
            points,
        }],
    };
    writeln!(html, "{}\n</section>", chart.to_svg())
}

fn write_seconds(html: &mut String, seconds: &[Second], duration: f64) -> std::fmt::Result {
    // The last second is rarely a whole one, and its count would look like a collapse.
    let whole = |second: &&Second| second.second as f64 + 1.0 <= duration || seconds.len() == 1;
    let shown: Vec<_> = seconds.iter().filter(whole).collect();
    let line = |name, colour, dashes, value: fn(&Second) -> Option<f64>| Line {
        name,
        colour,
        dashes,
        points: shown
            .iter()
            .map(|second| (second.second as f64, value(second)))
            .collect(),
    };
    let x_marks = second_marks(shown.len());
    let latency = Chart {
        title: "Latency by second",
        unit: "ms",
        x_unit: "seconds",
        x_marks: x_marks.clone(),
        lines: vec![
            line("p50", BLUE, "", |second| second.p50_ms),
            line("p99", RED, DASHED, |second| second.p99_ms),
        ],
    };
    let rate = Chart {
        title: "Requests by second",
        unit: "requests/s",
        x_unit: "seconds",
        x_marks,
        lines: vec![
            line("ended", GREEN, "", |second| Some(second.requests as f64)),
            line("failed", RED, DASHED, |second| Some(second.failed as f64)),
        ],
    };
    writeln!(
        html,
        "<section>\n<h2>Latency over time</h2>\n{}\n</section>",
        latency.to_svg()
    )?;
    writeln!(
        html,
        "<section>\n<h2>Rate over time</h2>\n{}\n</section>",
        rate.to_svg()
    )
}

/// Marks at countable seconds, with the last one at the end.
fn second_marks(count: usize) -> Vec<(f64, String)> {
    let last = count.saturating_sub(1).max(1);
    let step = step(last as f64 / 8.0).max(1.0) as usize;
    // A mark right beside the last one would be written over it.
    let inner = (0..last).step_by(step).filter(|second| last - second > step / 2);
    inner
        .chain([last])
        .map(|second| (second as f64, second.to_string()))
        .collect()
}

fn write_errors(html: &mut String, report: &Report) -> std::fmt::Result {
    html.push_str("<section>\n<h2>Errors</h2>\n");
    if report.summary.errors.is_empty() {
        html.push_str("<p>None.</p>\n</section>\n");
        return Ok(());
    }
    html.push_str("<table><tr><th>kind</th><th>requests</th><th>the first one</th></tr>\n");
    for (kind, count) in &report.summary.errors {
        let example = report.examples.get(kind).map_or("", String::as_str);
        let example = escape(&one_line(example));
        writeln!(
            html,
            "<tr><td>{kind}</td><td>{count}</td><td class=\"words\">{example}</td></tr>"
        )?;
    }
    html.push_str("</table>\n</section>\n");
    Ok(())
}

fn write_conditions(html: &mut String, report: &Report, command: &str) -> std::fmt::Result {
    let summary = &report.summary;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let duration = |duration| humantime::format_duration(duration).to_string();
    let conditions = [
        ("command", command.to_owned()),
        ("mode", summary.mode.clone()),
        ("connections", summary.connections.to_string()),
        (
            "planned rate",
            or_none(
                summary
                    .rate
                    .map(|rate| format!("{rate} requests/s, latency from when each was due")),
            ),
        ),
        (
            "limit of requests",
            or_none(report.limits.count.map(|count| count.to_string())),
        ),
        ("limit of time", or_none(report.limits.duration.map(duration))),
        ("timeout", duration(report.timeout)),
        ("places", report.places.to_string()),
        ("seed of their order", or_none(report.seed.map(|seed| seed.to_string()))),
        ("took", format!("{:.2} s", summary.duration_seconds)),
        (
            "stopped early",
            or_none(report.given_up.map(|count| format!("{count} requests not awaited"))),
        ),
        ("load-test", summary.version.clone()),
    ];
    html.push_str("<section>\n<h2>How it was run</h2>\n<table>\n");
    for (name, value) in conditions {
        writeln!(
            html,
            "<tr><th>{name}</th><td class=\"words\">{}</td></tr>",
            escape(&value)
        )?;
    }
    html.push_str("</table>\n</section>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_do_not_crowd_and_include_both_ends() {
        for count in [0, 1, 2, 10, 61, 3600] {
            let marks = second_marks(count);
            assert!(marks.len() <= 10, "{count}: {marks:?}");
            assert_eq!(marks[0].0, 0.0);
            assert_eq!(marks[marks.len() - 1].0, (count.max(2) - 1) as f64);
        }
    }
}
