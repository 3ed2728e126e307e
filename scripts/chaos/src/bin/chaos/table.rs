//! The table at the end: a line for each scenario, and under it what was expected and what was measured.

use std::fmt::Write;
use std::time::Duration;

use crate::finding::{quantile, seconds};
use crate::runner::Verdict;

/// The whole table.
pub(crate) fn of(verdicts: &[Verdict]) -> String {
    let mut text = format!(
        "{:<16} {:>9} {:>7} {:>5} {:>6} {:>10} {:>10} {:>10} {:>7}  {}\n",
        "scenario", "messages", "faults", "lost", "wrong", "duplicates", "median", "max", "took", "verdict"
    );
    for verdict in verdicts {
        write_line(&mut text, verdict);
    }
    for verdict in verdicts {
        write_findings(&mut text, verdict);
    }
    let messages: usize = verdicts.iter().map(|verdict| verdict.judgement.messages).sum();
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let _ = write!(
        text,
        "\n{messages} messages in all; {} of {} scenarios passed\n",
        verdicts.len() - failed,
        verdicts.len()
    );
    text
}

fn write_line(text: &mut String, verdict: &Verdict) {
    let (judgement, recoveries) = (&verdict.judgement, &verdict.opinion.recoveries);
    let shown = |share| quantile(recoveries, share).map_or("–".to_owned(), shown);
    let _ = writeln!(
        text,
        "{:<16} {:>9} {:>7} {:>5} {:>6} {:>10} {:>10} {:>10} {:>5.0} s  {}",
        verdict.id,
        judgement.messages,
        verdict.faults,
        judgement.lost,
        judgement.wrong,
        judgement.duplicates,
        shown(0.5),
        shown(1.0),
        verdict.took.as_secs_f64(),
        if verdict.passed() { "passed" } else { "FAILED" }
    );
}

fn write_findings(text: &mut String, verdict: &Verdict) {
    let _ = writeln!(text, "\n{}: {}", verdict.id, bound(verdict));
    for finding in verdict.findings() {
        let mark = if finding.passed { "ok    " } else { "FAILED" };
        let _ = writeln!(
            text,
            "  {mark}  {:<42}  {}",
            finding.expected,
            finding.measured.replace('\n', "\n          ")
        );
    }
}

/// What the number of losses says about their rate (the rule of three where there is none).
fn bound(verdict: &Verdict) -> String {
    let (lost, accepted) = (verdict.judgement.lost, verdict.judgement.accepted);
    match (lost, accepted) {
        (_, 0) => "nothing was accepted".to_owned(),
        (0, _) => format!(
            "0 lost of {accepted} means a loss rate below {:.1e} at 95 %",
            3.0 / accepted as f64
        ),
        _ => format!(
            "{lost} lost of {accepted}, a rate of {:.1e}",
            lost as f64 / accepted as f64
        ),
    }
}

fn shown(time: Duration) -> String {
    match time {
        Duration::MAX => "never".to_owned(),
        time => seconds(time),
    }
}
