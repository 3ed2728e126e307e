//! What the program is asked to do.

use std::num::{NonZeroU64, NonZeroUsize};

use clap::Parser;

/// Plays thousands of seeded histories of several ingresses and workers in one process, on a clock of its own, and
/// judges each: every call, every promise, everything that is left.
///
/// Exit status: 0; 1 when a history broke an invariant; 2 for a bad option, or when one could not be played to its end.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
pub(crate) struct Cli {
    /// How many histories to play, one for each seed, from --from on
    #[arg(long, default_value = "2000", value_name = "N", conflicts_with = "seed")]
    pub(crate) seeds: NonZeroU64,

    /// The first seed
    #[arg(long, default_value_t = 0, value_name = "S", conflicts_with = "seed")]
    pub(crate) from: u64,

    /// Play the history of this seed again, exactly as it was, and tell what happened to each request that broke an
    /// invariant
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,

    /// With --seed: tell the story of this piece of work as well
    #[arg(long, value_name = "NUMBER", requires = "seed")]
    pub(crate) work: Option<u64>,

    /// With --seed: tell the whole story
    #[arg(long, requires = "seed")]
    pub(crate) story: bool,

    /// How many histories to play at the same time [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Play on after the first history that broke an invariant
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Play one history and report it to whoever started this program
    #[arg(long, hide = true, requires = "seed")]
    pub(crate) report: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_accepted_is_said_by_name() {
        for (arguments, said) in [
            (&["--seeds", "0"][..], "--seeds <N>"),
            (&["--seeds", "many"], "invalid digit"),
            (&["--seed", "x1"], "--seed <S>"),
            (&["--seed", "-1"], "unexpected argument"),
            (&["--seed", "18446744073709551616"], "too large"),
            (&["--seed", "1", "--seeds", "2"], "cannot be used with"),
            (&["--story"], "--seed <S>"),
            (&["--jobs", "0"], "--jobs <N>"),
        ] {
            let error = Cli::try_parse_from([&["simulate"], arguments].concat()).err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }
}
