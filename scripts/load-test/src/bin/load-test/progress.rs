//! Progress on standard error: a bar on a terminal, a line a second anywhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use load_test::plan::Limits;
use load_test::recorder::{Live, Recording};
use load_test::text::latency;

/// Often enough to look alive, seldom enough to cost nothing.
const BAR_INTERVAL: Duration = Duration::from_millis(250);
/// Steps of the bar.
const STEPS: u64 = 1000;

/// Shows progress until it is dropped.
pub(crate) async fn show(recording: Recording, limits: Limits) {
    if std::io::stderr().is_terminal() {
        show_bar(&recording, limits).await;
    } else {
        show_lines(&recording).await;
    }
}

async fn show_bar(recording: &Recording, limits: Limits) {
    // `wide_msg` is cut at the edge: a line that wrapped would leave its traces on the terminal.
    let style = ProgressStyle::with_template("{bar:12} {percent:>3} %  {wide_msg}").expect("the template is valid");
    let bar = Bar(ProgressBar::new(STEPS).with_style(style));
    loop {
        let live = recording.live();
        bar.0.set_position((done(&live, limits) * STEPS as f64) as u64);
        bar.0.set_message(line(&live));
        tokio::time::sleep(BAR_INTERVAL).await;
    }
}

/// Leaves no half bar behind.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[allow(clippy::print_stderr)] // it is the program's output
async fn show_lines(recording: &Recording) {
    loop {
        // Just after a second of the run is over, so that each line is about another one.
        let into_second = u64::from(recording.live().elapsed.subsec_millis());
        tokio::time::sleep(Duration::from_millis(1002 - into_second)).await;
        let live = recording.live();
        eprintln!("{:>4} s  {}", live.elapsed.as_secs(), line(&live));
    }
}

fn line(live: &Live) -> String {
    let (p50, p99) = (latency(live.p50_ms), latency(live.p99_ms));
    format!(
        "{} requests/s  p50 {p50} ms  p99 {p99} ms  {} failed",
        live.rate, live.failed
    )
}

/// How much of the run is over, 0 to 1, by the limit that is nearer.
fn done(live: &Live, limits: Limits) -> f64 {
    let by_count = limits.count.map_or(0.0, |count| live.requests as f64 / count as f64);
    let by_time = limits
        .duration
        .map_or(0.0, |duration| live.elapsed.as_secs_f64() / duration.as_secs_f64());
    by_count.max(by_time).min(1.0)
}
