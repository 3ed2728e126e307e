//! Backoff between attempts: exponential, with full jitter so that those who failed together do not come
//! back together. The only user of the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// An endless series of delays: each random between zero and a bound that doubles from `first` to `max`.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Backoff whose bound starts at `first` and doubles up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: max,
            // Its default gives up after 15 minutes; here the caller decides when to stop.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.0.next_backoff().unwrap_or(self.0.max_interval);
        // The crate's own chance cannot be seeded.
        bound.mul_f64(fastrand::f64())
    }

    /// Sleeps for the next delay, or until `stop`.
    pub async fn pause(&mut self, stop: &CancellationToken) {
        stop.run_until_cancelled(sleep(self.next_delay())).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn delays_are_spread_below_a_bound_that_doubles_up_to_the_maximum() {
        let run = |_| {
            let mut delays = Backoff::new(FIRST, MAX);
            (0..8).map(|_| delays.next_delay()).collect()
        };
        let runs: Vec<Vec<Duration>> = (0..200).map(run).collect();
        for step in 0..8_u32 {
            let bound = (FIRST * 2_u32.pow(step)).min(MAX);
            let longest = runs.iter().map(|run| run[step as usize]).max().unwrap();
            let shortest = runs.iter().map(|run| run[step as usize]).min().unwrap();
            assert!(
                longest <= bound + Duration::from_millis(1),
                "step {step}: {longest:?} > {bound:?}"
            );
            assert!(
                shortest < bound / 4 && longest > bound * 3 / 4,
                "step {step}: {shortest:?}..{longest:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_takes_as_long_as_the_next_delay_and_no_longer_than_until_the_stop() {
        let (mut pauses, stop, started) = (Backoff::new(MAX, MAX), CancellationToken::new(), Instant::now());
        for _ in 0..100 {
            pauses.pause(&stop).await;
        }
        assert!(started.elapsed() > MAX * 25 && started.elapsed() < MAX * 75);
        stop.cancel();
        let stopped = Instant::now();
        pauses.pause(&stop).await;
        assert_eq!(stopped.elapsed(), Duration::ZERO);
    }
}
