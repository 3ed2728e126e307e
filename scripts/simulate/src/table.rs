//! Verdicts, as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::fleet::Played;
use crate::history::Verdict;

#[derive(Default)]
struct Line {
    histories: u64,
    calls: u64,
    promises: u64,
    runs: u64,
    faults: u64,
    took: Duration,
    broken: u64,
}

/// The table of all themes.
pub(crate) fn of_many(played: &[Played], took: Duration) -> String {
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    let mut all = Line::default();
    let mut findings = String::new();
    for one in played {
        let Played::Verdict(verdict) = one else { continue };
        for line in [lines.entry(&verdict.theme).or_default(), &mut all] {
            line.add(verdict);
        }
        for (rule, work, what) in verdict.broken.iter().take(2) {
            let work = work.map_or(String::new(), |work| format!(", work {work}"));
            let _ = writeln!(findings, "seed {}{work}: {rule}: {what}", verdict.seed);
        }
    }
    let mut text = format!(
        "{:<10} {:>9} {:>9} {:>9} {:>9} {:>8} {:>12} {:>7}\n",
        "theme", "histories", "calls", "promises", "attempts", "faults", "simulated", "broken"
    );
    for (theme, line) in lines.iter().chain([(&"all", &all)]) {
        let _ = writeln!(
            text,
            "{theme:<10} {:>9} {:>9} {:>9} {:>9} {:>8} {:>10} s {:>7}",
            line.histories,
            line.calls,
            line.promises,
            line.runs,
            line.faults,
            line.took.as_secs(),
            line.broken
        );
    }
    let rate = all.calls as f64 / took.as_secs_f64();
    let _ = writeln!(text, "{:.1} s, {rate:.0} calls a second", took.as_secs_f64());
    text + &findings
}

/// One history, with the stories of what it broke.
pub(crate) fn of_one(verdict: &Verdict, stories: &[String]) -> String {
    let mut text = String::new();
    for line in stories {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(
        text,
        "seed {}, {}: {} calls, {} promises, {} attempts, {} faults in {:.1} s; digest {:016x}",
        verdict.seed,
        verdict.theme,
        verdict.calls,
        verdict.promises,
        verdict.runs,
        verdict.faults,
        verdict.took.as_secs_f64(),
        verdict.digest
    );
    for (rule, work, what) in &verdict.broken {
        let work = work.map_or(String::new(), |work| format!("work {work}: "));
        let _ = writeln!(text, "broken: {rule}: {work}{what}");
    }
    if verdict.broken.is_empty() {
        let _ = writeln!(text, "nothing is broken");
    }
    text
}

impl Line {
    fn add(&mut self, verdict: &Verdict) {
        self.histories += 1;
        self.calls += verdict.calls;
        self.promises += verdict.promises;
        self.runs += verdict.runs;
        self.faults += verdict.faults;
        self.took += verdict.took;
        self.broken += u64::from(!verdict.broken.is_empty());
    }
}
