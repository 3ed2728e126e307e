//! From steps to the times that excuse something. Each step is named, so that none is forgotten; what is not broken for
//! long enough to matter excuses nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use checker::{Disturbances, Interruption};

use crate::fault_proxy::NetworkFault;
use crate::history::{Event, History, What};
use crate::step::Step;
use crate::upstream::Mood;

/// LEASE is six seconds, and was renewed up to two before the trouble: what lasts shorter costs nobody a delivery.
const LEASE_LEFT: Duration = Duration::from_secs(4);

/// Something that is broken from one step until another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trouble {
    /// The broker is out of reach.
    Broker,
    /// An ingress stands still: what it was just publishing, or has not read yet, gets there late or not at all.
    Ingress(u32),
    /// A worker, by its pid, stands still.
    Frozen(u32),
    Upstream,
}

/// What a step does to the services.
enum Effect {
    Begins(Trouble),
    Ends(Trouble),
    /// As long as the step itself.
    Lasts(Trouble),
    Kills(u32),
    KillsIngress(u32),
    Destroys,
    Nothing,
}

/// What a history excuses, and when.
pub(super) fn of(history: &History) -> Disturbances {
    let mut found = Disturbances::default();
    let mut since: HashMap<Trouble, Duration> = HashMap::new();
    for event in &history.events {
        match effect(event) {
            Effect::Begins(trouble) => {
                since.entry(trouble).or_insert(event.at);
            }
            Effect::Ends(trouble) => {
                if let Some(from) = since.remove(&trouble) {
                    note(&mut found, trouble, from..event.done);
                }
            }
            Effect::Lasts(trouble) => note(&mut found, trouble, event.at..event.done),
            Effect::Kills(worker) => found.interruptions.push(Interruption {
                worker: Some(worker),
                during: event.at..event.done,
            }),
            Effect::KillsIngress(instance) => {
                found.kills.insert(instance, event.done);
            }
            Effect::Destroys => found.destroyed.push(event.done),
            Effect::Nothing => {}
        }
    }
    for (trouble, from) in since {
        note(&mut found, trouble, from..Duration::MAX);
    }
    found
}

fn note(found: &mut Disturbances, trouble: Trouble, during: Range<Duration>) {
    let worker = match trouble {
        Trouble::Upstream => return found.upstream.push(during),
        Trouble::Ingress(_) => return found.uncertain.push(during),
        Trouble::Broker => None,
        Trouble::Frozen(worker) => Some(worker),
    };
    if trouble == Trouble::Broker {
        found.uncertain.push(during.clone());
    }
    if during.end - during.start >= LEASE_LEFT {
        found.interruptions.push(Interruption { worker, during });
    }
}

fn effect(event: &Event) -> Effect {
    let (step, hit) = match &event.what {
        What::Step(step, hit) => (step, *hit),
        What::Lost(worker) => return Effect::Kills(*worker),
        What::Died(_) | What::Restarted(_) | What::Peak(_) => return Effect::Nothing,
    };
    match (step, hit) {
        (Step::KillRedis, _) => Effect::Begins(Trouble::Broker),
        (Step::StartRedis, _) => Effect::Ends(Trouble::Broker),
        (Step::FreezeRedis, _) => Effect::Begins(Trouble::Broker),
        (Step::ThawRedis, _) => Effect::Ends(Trouble::Broker),
        (Step::PauseClients(_) | Step::DebugSleep(_), _) => Effect::Lasts(Trouble::Broker),
        (Step::FreezeIngress(_), Some(instance)) => Effect::Begins(Trouble::Ingress(instance)),
        (Step::ThawIngress(_), Some(instance)) => Effect::Ends(Trouble::Ingress(instance)),
        (Step::Network(NetworkFault::BlackHole | NetworkFault::CutAfter(_) | NetworkFault::Reset), _) => {
            Effect::Begins(Trouble::Broker)
        }
        (Step::Network(NetworkFault::Pass | NetworkFault::Delay(_) | NetworkFault::DelayPublishing(_)), _) => {
            Effect::Ends(Trouble::Broker)
        }
        (Step::Upstream(Mood::Failing | Mood::Slow(_)), _) => Effect::Begins(Trouble::Upstream),
        (Step::Upstream(Mood::Healthy), _) => Effect::Ends(Trouble::Upstream),
        (Step::FreezeWorker(_), Some(worker)) => Effect::Begins(Trouble::Frozen(worker)),
        (Step::ThawWorker(_), Some(worker)) => Effect::Ends(Trouble::Frozen(worker)),
        (Step::KillWorker(_), Some(worker)) => Effect::Kills(worker),
        (Step::KillIngress(_), Some(instance)) => Effect::KillsIngress(instance),
        (Step::FlushAll | Step::DestroyGroup, _) => Effect::Destroys,
        // Who is asked to leave finishes what it has in hand: that excuses nothing.
        (Step::RollWorker(_) | Step::RollIngress(_) | Step::StartWorker(_) | Step::StartIngress(_), _) => {
            Effect::Nothing
        }
        // A clock that was set, or memory that is used up, excuses nothing.
        (Step::SetClock(_) | Step::LeaveMemory(_) | Step::Ask(..) | Step::AwaitRuns(..), _) => Effect::Nothing,
        (Step::Wait(_) | Step::Load(_) | Step::MeasurePeak(_) | Step::LoadTimesPeak(_), _) => Effect::Nothing,
        // What was asked is done, and asked for again.
        (Step::LoseAnswers(..), _) => Effect::Nothing,
        (Step::Flood(_) | Step::AwaitFlood, _) => Effect::Nothing,
        (Step::FreezeIngress(_) | Step::ThawIngress(_), None) => Effect::Nothing,
        (Step::FreezeWorker(_) | Step::ThawWorker(_) | Step::KillWorker(_) | Step::KillIngress(_), None) => {
            Effect::Nothing
        }
    }
}
