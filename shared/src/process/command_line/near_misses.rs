//! Variables that are nearly one of ours: a slip that would otherwise be ignored without a word.

use clap::{Command, CommandFactory};

/// Names that are written like one of ours, and mean something else: what terminals call themselves.
const OTHERS: [&str; 1] = ["TERMINAL"];

/// Shorter names differ by one letter from too many words.
const LONG_ENOUGH: usize = 8;

/// Warns of each variable that this program ignores and whose name is nearly one that it reads.
pub fn warn_of_near_misses<C: CommandFactory>() {
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (found, meant) in near_misses(&C::command(), set) {
        tracing::warn!(variable = found, "this variable is not read; {meant} is");
    }
}

fn near_misses(command: &Command, set: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let ours: Vec<_> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()))
        .collect();
    let others = set.filter(|name| !ours.contains(name) && !OTHERS.contains(&name.as_str()));
    others
        .filter_map(|name| {
            let meant = ours.iter().find(|ours| is_near(&name, ours))?;
            Some((name, meant.clone()))
        })
        .collect()
}

fn is_near(name: &str, ours: &str) -> bool {
    let letters = |name: &str| name.replace(['_', '-', '.'], "").to_uppercase();
    let (name, ours) = (letters(name), letters(ours));
    name == ours || (ours.len() >= LONG_ENOUGH && strsim::osa_distance(&name, &ours) == 1)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn what_is_nearly_ours_is_found_and_nothing_else() {
        let names = ["MAX_IN_FLIGHT", "LEASE", "TERMINALS", "REQUEST_TIMEOUT"];
        let command = names.iter().fold(Command::new("test"), |command, name| {
            command.arg(Arg::new(*name).env(*name))
        });
        for (set, meant) in [
            ("MAX_INFLIGHT", Some("MAX_IN_FLIGHT")),
            ("max_in_flight", Some("MAX_IN_FLIGHT")),
            ("MAX-IN-FLIGHT", Some("MAX_IN_FLIGHT")),
            ("REQUEST_TIMOUT", Some("REQUEST_TIMEOUT")),
            ("REQEUST_TIMEOUT", Some("REQUEST_TIMEOUT")),
            ("MAX_IN_FLIGHT", None),
            ("TERMINAL", None),
            ("LEASH", None),
            ("RELEASE", None),
            ("HOME", None),
        ] {
            let found = near_misses(&command, std::iter::once(set.to_owned()));
            let found = found.first().map(|(_, meant)| meant.as_str());
            assert_eq!(found, meant, "{set}");
        }
    }
}
