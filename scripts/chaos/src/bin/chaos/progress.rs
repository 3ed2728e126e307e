//! Progress on standard error: a spinner for each scenario on a terminal, plain lines anywhere else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Often enough to look alive.
const SPIN_INTERVAL: Duration = Duration::from_millis(250);

/// The progress of a whole run.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    bars: Option<MultiProgress>,
    begin: Instant,
}

/// The progress of one scenario.
#[derive(Debug)]
pub(crate) struct Progress {
    id: &'static str,
    screen: Screen,
    bar: Option<ProgressBar>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            bars: std::io::stderr().is_terminal().then(MultiProgress::new),
            begin: Instant::now(),
        }
    }

    /// Shows that a scenario runs, until the value is dropped.
    pub(crate) fn show(&self, id: &'static str) -> Progress {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("{spinner} {prefix:<16} {elapsed:>4} {wide_msg}");
            let bar = bars.add(ProgressBar::new_spinner().with_style(style.expect("the template is valid")));
            bar.set_prefix(id);
            bar.enable_steady_tick(SPIN_INTERVAL);
            bar
        });
        Progress {
            id,
            screen: self.clone(),
            bar,
        }
    }
}

impl Progress {
    /// Says what happens now.
    #[allow(clippy::print_stderr)] // it is the program's output
    pub(crate) fn say(&self, sentence: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(sentence.to_owned()),
            None => eprintln!(
                "{:>6.1} s  {:<16} {sentence}",
                self.screen.begin.elapsed().as_secs_f64(),
                self.id
            ),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
