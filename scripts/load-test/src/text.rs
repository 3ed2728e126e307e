//! The summary as text, for terminals and logs.

use std::fmt::Write;

use crate::report::Report;

/// The summary, lines ended.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    write(&mut text, report).expect("writing to a String cannot fail");
    text
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    let summary = &report.summary;
    writeln!(
        text,
        "requests    {} in {:.2} s",
        summary.requests, summary.duration_seconds
    )?;
    let percent = percent(summary.success_rate);
    writeln!(
        text,
        "success     {percent} ({} succeeded, {} failed)",
        summary.succeeded, summary.failed
    )?;
    writeln!(text, "rate        {:.1} right answers/s", summary.throughput_per_second)?;
    if let Some(given_up) = report.given_up {
        writeln!(text, "stopped     {given_up} requests were due and not awaited")?;
    }
    writeln!(text, "latency     ms")?;
    for (name, value) in summary.latency_ms.named() {
        writeln!(text, "  {name:<6}{:>12}", latency(value))?;
    }
    if !summary.errors.is_empty() {
        writeln!(text, "errors")?;
    }
    for (kind, count) in &summary.errors {
        let example = report.examples.get(kind).map_or("", String::as_str);
        writeln!(text, "  {kind:<13}{count:>9}  first: {}", one_line(example))?;
    }
    Ok(())
}

/// A latency in ms; a dash where nothing was measured.
#[must_use]
pub fn latency(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// A share of 0 to 1 in percent. Never rounded up to all: 100 % means every one.
#[must_use]
pub fn percent(share: f64) -> String {
    // The little more is for shares that binary fractions put just below their decimals.
    let percent = (share * 10_000.0 + 1e-6).floor() / 100.0;
    format!("{percent:.2} %")
}

/// Without line breaks and control characters, which a server's words may hold.
#[must_use]
pub fn one_line(text: &str) -> String {
    let printable = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_means_every_one() {
        assert_eq!(percent(1.0), "100.00 %");
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!(percent(0.0), "0.00 %");
    }

    #[test]
    fn a_servers_words_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
