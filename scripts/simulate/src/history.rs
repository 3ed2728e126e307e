//! One seed, from its plan to its verdict.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::entropy;
use crate::plan::Plan;
use crate::rules;
use crate::world;

/// What is to be said of a history.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) seed: u64,
    pub(crate) theme: String,
    /// Calls that were made, and promises that were followed.
    pub(crate) calls: u64,
    pub(crate) promises: u64,
    pub(crate) runs: u64,
    pub(crate) faults: u64,
    /// On the history's clock.
    pub(crate) took: Duration,
    /// What it broke: the rule, the piece of work, and how.
    pub(crate) broken: Vec<(String, Option<u64>, String)>,
    /// A digest of all that happened: two runs of one seed have the same.
    pub(crate) digest: u64,
}

/// Plays the history of a seed; returns what is to be said of it, and the stories of those works that broke something,
/// or that are asked for.
///
/// # Errors
/// When there is no runtime to be had.
pub(crate) fn play(seed: u64, tells: bool, also: Option<Option<u64>>) -> Result<(Verdict, Vec<String>), String> {
    entropy::begin(seed);
    let plan = Plan::of(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("could not start a runtime: {error}"))?;
    let (seen, digest) = runtime.block_on(async {
        entropy::follow_the_runtime();
        let seen = world::play(plan, seed, tells).await;
        let digest = digest(&seen);
        entropy::end();
        (seen, digest)
    });
    let broken = rules::judge(&seen);
    let mut stories = Vec::new();
    if tells {
        let mut works: Vec<_> = broken.iter().map(|one| one.work).chain(also).collect();
        works.sort_unstable();
        works.dedup();
        for work in works.into_iter().take(3) {
            let title = work.map_or("the whole history".to_owned(), |work| format!("work {work}"));
            stories.push(format!(
                "--- {title}, {:?}",
                work.map(|work| &seen.plan.deeds[work as usize])
            ));
            stories.extend(seen.log.story(work));
        }
    }
    let verdict = Verdict {
        seed,
        theme: seen.plan.theme.name().to_owned(),
        calls: seen.calls.len() as u64,
        promises: seen.fates.len() as u64,
        runs: seen.log.facts().values().map(|facts| facts.runs.len() as u64).sum(),
        faults: seen.log.faults() + seen.plan.spells.iter().map(|spells| spells.len() as u64).sum::<u64>(),
        took: seen.took,
        broken: broken
            .into_iter()
            .map(|one| (one.rule.to_owned(), one.work, one.what))
            .collect(),
        digest,
    };
    // What is still at work in a dead process is left to the system.
    std::mem::forget(runtime);
    Ok((verdict, stories))
}

fn digest(seen: &world::Seen) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    for call in &seen.calls {
        (call.sent, &call.via, format!("{:?}", call.end)).hash(&mut hasher);
    }
    for (work, facts) in seen.log.facts() {
        (work, format!("{facts:?}")).hash(&mut hasher);
    }
    format!("{:?}", seen.fates).hash(&mut hasher);
    hasher.finish()
}
