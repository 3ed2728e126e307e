//! Backoff between attempts: exponential, with full jitter so that those who failed together do not come
//! back together. The only user of the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

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
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let bound = self.0.next_backoff()?;
        // The crate's own chance cannot be seeded.
        Some(bound.mul_f64(fastrand::f64()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn delays_are_spread_below_a_bound_that_doubles_up_to_the_maximum() {
        let runs: Vec<Vec<Duration>> = (0..200).map(|_| Backoff::new(FIRST, MAX).take(8).collect()).collect();
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

    #[test]
    fn delays_never_run_out() {
        assert_eq!(Backoff::new(FIRST, MAX).take(10_000).count(), 10_000);
    }
}
