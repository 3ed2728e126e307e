//! The server's clock beside our own. Leases and ages are counted on the server's, which somebody may set; ours only
//! goes on. Where the two disagree nothing is blamed for it: see docs/adr/0020.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::Position;
use crate::broker::redis::connection::shared::COMMAND_TIMEOUT;

/// A difference below this is no step: clocks are slewed, and measuring takes its time.
const TOLERANCE: Duration = Duration::from_millis(100);

/// By how much clocks may drift apart: one in so many. Slewing does less.
const DRIFT: u32 = 1000;

/// Somebody who has not heard of the server for so long, or for a lease, cannot know who else has.
const SILENCE: Duration = Duration::from_secs(2);

/// How many steps are remembered. Nobody sets a clock so often while one request waits.
const REMEMBERED: usize = 8;

/// What is known of the server's clock.
#[derive(Debug)]
pub(super) struct ServerClock {
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Reading>,
    /// When leases last became worth nothing.
    doubted: Option<Instant>,
    /// Whether some entries may have been delivered in what is now the future.
    set_back: bool,
    ahead: VecDeque<Step>,
}

/// What the server's clock said, between two moments of ours.
#[derive(Debug, Clone, Copy)]
struct Reading {
    millis: u64,
    asked: Instant,
    answered: Instant,
}

/// The server's clock was set ahead. Entries with a time up to `before` are from before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) before: u64,
    pub(super) by: u64,
}

/// How old entries are at one moment.
#[derive(Debug)]
pub(super) struct Ages {
    now: Option<u64>,
    ahead: Vec<Step>,
}

impl ServerClock {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            state: Mutex::default(),
        }
    }

    /// Notes what the server's clock said.
    pub(super) fn read(&self, millis: u64, asked: Instant, answered: Instant) {
        let reading = Reading {
            millis,
            asked,
            answered,
        };
        let mut state = self.state();
        let Some(last) = state.last.filter(|last| last.answered <= answered) else {
            // The first, or one that was overtaken.
            state.last.get_or_insert(reading);
            return;
        };
        if asked.saturating_duration_since(last.answered) > self.silence() {
            state.doubted = Some(answered);
        }
        if let Some(by) = last.step_to(&reading) {
            tracing::warn!(by, "the server's clock was set; nothing is taken over for a lease");
            state.doubted = Some(answered);
            state.set_back |= by < 0;
            if let Ok(by) = u64::try_from(by)
                && by > 0
            {
                // Both are cut to whole milliseconds.
                let before = last.millis + millis_of(answered - last.asked) + 2;
                state.ahead.push_back(Step { before, by });
                if state.ahead.len() > REMEMBERED {
                    state.ahead.pop_front();
                }
            }
        }
        // One that took long says little about the next.
        if answered - asked <= SILENCE {
            state.last = Some(reading);
        }
    }

    /// Whether leases say who is alive: for a whole lease nothing was heard that speaks against it, so that whoever
    /// is alive has renewed meanwhile.
    pub(super) fn is_trusted(&self) -> bool {
        self.state().doubted.is_none_or(|since| since.elapsed() >= self.lease)
    }

    /// The earliest and the latest that the server's clock can show while a command runs that is sent now. Beyond
    /// that it was set. After a silence nothing is expected: whatever it shows, it has to be read first.
    pub(super) fn expected(&self) -> (u64, u64) {
        let Some(last) = self.state().last else {
            return (0, u64::MAX / 2);
        };
        if last.answered.elapsed() > self.silence() {
            return (u64::MAX / 2, 0);
        }
        let (least, most) = (last.answered.elapsed(), last.asked.elapsed());
        let tolerance = tolerance(most);
        (
            (last.millis + millis_of(least)).saturating_sub(millis_of(tolerance)),
            last.millis + millis_of(most + COMMAND_TIMEOUT + tolerance),
        )
    }

    /// Whether the clock was set back since the last call of [`ServerClock::levelled`].
    pub(super) fn was_set_back(&self) -> bool {
        self.state().set_back
    }

    /// Nothing was delivered in the future any more.
    pub(super) fn levelled(&self) {
        self.state().set_back = false;
    }

    /// The last step ahead.
    pub(super) fn last_ahead(&self) -> Option<Step> {
        self.state().ahead.back().copied()
    }

    /// How old entries are when the server's clock says `now`.
    pub(super) fn ages(&self, now: Option<u64>) -> Ages {
        Ages {
            now,
            ahead: self.state().ahead.iter().copied().collect(),
        }
    }

    fn silence(&self) -> Duration {
        self.lease.max(SILENCE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the state")
    }
}

impl Ages {
    /// How long an entry has been in the stream. The steps ahead since then are not counted. After a step back an
    /// entry counts as new until the clock has caught up: its id does not say more.
    pub(super) fn of(&self, entry: Position) -> Duration {
        let since = self.ahead.iter().filter(|step| entry.millis <= step.before);
        let ahead: u64 = since.map(|step| step.by).sum();
        let age = self.now.map(|now| now.saturating_sub(entry.millis));
        Duration::from_millis(age.unwrap_or(0).saturating_sub(ahead))
    }
}

impl Reading {
    /// By how many milliseconds the clock was set between two readings, where that is beyond doubt.
    fn step_to(&self, next: &Self) -> Option<i64> {
        let shown = next.millis as i64 - self.millis as i64;
        let longest = next.answered - self.asked;
        let shortest = next.asked.saturating_duration_since(self.answered);
        let tolerance = millis_of(tolerance(longest)) as i64;
        let is_step = shown > millis_of(longest) as i64 + tolerance || shown < millis_of(shortest) as i64 - tolerance;
        is_step.then(|| shown - millis_of(next.answered - self.answered) as i64)
    }
}

fn tolerance(passed: Duration) -> Duration {
    TOLERANCE + passed / DRIFT
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);
    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;

    fn entry(millis: u64) -> Position {
        Position { millis, sequence: 0 }
    }

    /// Goes on by so much and reads a clock that shows `millis`, some milliseconds later.
    async fn read_after(clock: &ServerClock, seconds: u64, millis: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(3)).await;
        clock.read(millis, asked, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_of_the_millisecond_before_a_step_is_from_before_it() {
        let clock = ServerClock::new(LEASE);
        let asked = Instant::now();
        clock.read(START, asked, asked);
        // All within less than a millisecond of ours, and over the end of one of the server's.
        let published = entry(START + 1);
        tokio::time::advance(Duration::from_micros(400)).await;
        clock.read(START + 1 + HOUR, Instant::now(), Instant::now());
        assert!(clock.ages(Some(START + 1 + HOUR)).of(published) < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_on_is_trusted() {
        let clock = ServerClock::new(LEASE);
        assert_eq!(clock.expected(), (0, u64::MAX / 2), "nothing is known yet");
        for second in 0..100 {
            // Slewed by one in two thousand.
            read_after(&clock, 1, START + second * 1003 + second / 2).await;
            assert!(clock.is_trusted());
        }
        let (earliest, latest) = clock.expected();
        let now = START + 99 * 1003 + 49;
        assert!(
            earliest < now && now < latest && latest - earliest < 1000,
            "{earliest} {latest}"
        );
        assert_eq!(
            clock.ages(Some(now)).of(entry(START)),
            Duration::from_millis(now - START)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ahead_ages_nothing_and_is_not_trusted_for_a_lease() {
        let clock = ServerClock::new(LEASE);
        read_after(&clock, 1, START).await;
        let (_, latest) = clock.expected();
        assert!(latest < START + HOUR, "a script can tell");
        read_after(&clock, 1, START + 1003 + HOUR).await;
        assert!(!clock.is_trusted() && !clock.was_set_back());
        let ages = clock.ages(Some(START + 1003 + HOUR));
        assert_eq!(ages.of(entry(START - 5000)), Duration::from_millis(6003));
        assert_eq!(
            ages.of(entry(START + HOUR + 900)),
            Duration::from_millis(103),
            "from after the step"
        );
        for second in 2..8 {
            assert!(!clock.is_trusted());
            read_after(&clock, 1, START + second * 1003 + HOUR).await;
        }
        assert!(clock.is_trusted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_back_is_noticed_until_all_levelled() {
        let clock = ServerClock::new(LEASE);
        read_after(&clock, 1, START).await;
        read_after(&clock, 1, START - HOUR).await;
        assert!(!clock.is_trusted() && clock.was_set_back());
        clock.levelled();
        assert!(!clock.was_set_back());
        assert_eq!(clock.ages(Some(START - HOUR)).of(entry(START)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_silence_leases_are_not_trusted() {
        let clock = ServerClock::new(LEASE);
        read_after(&clock, 1, START).await;
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(
            clock.expected(),
            (u64::MAX / 2, 0),
            "it is read before anything is done"
        );
        read_after(&clock, 0, START + 7003).await;
        assert!(!clock.is_trusted());
        assert_eq!(clock.last_ahead(), None, "and yet the clock was not set");
        tokio::time::advance(LEASE).await;
        assert!(clock.is_trusted());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_took_long_proves_no_step() {
        let clock = ServerClock::new(LEASE);
        read_after(&clock, 1, START).await;
        let asked = Instant::now();
        // Read at once by the server, and by us only after a pause of our own.
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.read(START + 10, asked, Instant::now());
        assert!(clock.is_trusted() && !clock.was_set_back());
    }
}
