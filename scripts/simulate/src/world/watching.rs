//! What can only be seen while it lasts: work that waits although somebody is free, terminals that are held by nobody,
//! a circuit that stays closed before an upstream that hangs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::OperationName;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::process::task::Condition;
use roundtrip::resilience::breaker::State;
use tokio::time::sleep;

use super::World;
use crate::entropy;
use crate::plan::{Theme, millis, secs};
use crate::upstream::Deed;

/// Between two looks.
const LOOK: Duration = millis(200);

/// How long a terminal may be held beside an attempt: the longest pause between two, and what the broker takes.
const IDLE: Duration = secs(5);

/// After trouble, how long nothing is demanded.
const GRACE: Duration = secs(4);

/// How long something has lasted, by worker.
#[derive(Default)]
struct Lasting {
    name: String,
    waits: Option<Duration>,
    idles: Option<Duration>,
}

/// Looks at everything, again and again.
pub(super) async fn watch(world: Arc<World>) {
    let mut lasting: Vec<Lasting> = Vec::new();
    let mut circuit = Circuit::default();
    loop {
        sleep(LOOK).await;
        let waiting = world.server.memory.depth().await.map_or(0, |depth| depth.waiting);
        let complaints = {
            let places = world.places();
            lasting.resize_with(places.labours.len(), Lasting::default);
            let now = entropy::elapsed();
            let mut complaints = Vec::new();
            for (labour, lasting) in places.labours.iter().zip(&mut lasting) {
                let name = labour.link.instance.name();
                let is_well = labour.link.instance.condition() == Condition::Running
                    && !labour.leaves
                    && !labour
                        .link
                        .weather
                        .lock()
                        .expect("nothing panics with the weather")
                        .was_bad(GRACE);
                if !is_well || lasting.name != name {
                    *lasting = Lasting {
                        name: name.to_owned(),
                        ..Lasting::default()
                    };
                    continue;
                }
                let (held, terminals) = labour.workers.stations().occupancy();
                let active = labour.active.load(Ordering::Relaxed);
                let is_closed = labour.workers.stations().upstream(OperationName::first()).state() == State::Closed;
                circuit.look(now, is_closed, &world);
                // A suspect has them to itself for a lease, after another that others were waited for.
                let limit = 3 * world.plan.settings.lease + secs(3);
                if lasts(&mut lasting.waits, now, waiting > 0 && held < terminals && is_closed) > limit {
                    lasting.waits = None;
                    complaints.push(format!(
                        "{waiting} requests have been waiting for {limit:?} while {name} has free terminals, {held} of {terminals} at work"
                    ));
                }
                if lasts(&mut lasting.idles, now, held > active) > IDLE {
                    lasting.idles = None;
                    complaints.push(format!(
                        "{name} has held {held} terminals for {IDLE:?}, and only {active} attempts are under way"
                    ));
                }
            }
            complaints
        };
        complaints
            .into_iter()
            .for_each(|complaint| world.complain(None, complaint));
        if let Some(complaint) = circuit.complaint.take() {
            world.complain(None, complaint);
        }
    }
}

/// How long something has been so.
fn lasts(since: &mut Option<Duration>, now: Duration, is_so: bool) -> Duration {
    match is_so {
        true => now - *since.get_or_insert(now),
        false => {
            *since = None;
            Duration::ZERO
        }
    }
}

/// Whether a circuit opens before an upstream that hangs.
#[derive(Default)]
struct Circuit {
    opened: bool,
    complaint: Option<String>,
    said: bool,
}

impl Circuit {
    fn look(&mut self, now: Duration, is_closed: bool, world: &World) {
        self.opened |= !is_closed;
        let hangs = world.plan.moods.iter().find(|mood| mood.deed == Deed::Hangs);
        let Some(mood) = hangs.filter(|_| world.plan.theme == Theme::Upstream && !self.said) else {
            return;
        };
        if now > mood.time.end {
            self.said = true;
            let facts = world.log.facts();
            let tried = facts
                .values()
                .flat_map(|facts| &facts.runs)
                .filter(|run| mood.time.contains(&run.began) && run.ended.is_some_and(|ended| ended < mood.time.end));
            let tried = tried.count();
            // Enough for any of several workers to have seen ten in a row.
            if !self.opened && tried >= 20 * world.plan.workers {
                self.complaint = Some(format!(
                    "the upstream hung for {:?}, {tried} attempts ran into it, and no circuit opened",
                    mood.time.end - mood.time.start
                ));
            }
        }
    }
}
