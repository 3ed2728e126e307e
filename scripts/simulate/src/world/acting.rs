//! What is done to instances: they are killed, frozen and replaced as the plan says, and started again when they died.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::process::task::{Condition, Instance};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::World;
use crate::entropy;
use crate::plan::{Blow, millis, secs};

/// How soon a process that died is started again.
const RESTART: Duration = millis(700);

impl World {
    /// Breaks what the plan says.
    pub(super) async fn strike(self: Arc<Self>, begin: Instant) {
        for (at, blow) in self.plan.blows.clone() {
            sleep_until(begin + at).await;
            self.log.fault(|| format!("{blow:?}"));
            match blow {
                Blow::KillIngress(place) => self.places().ingresses[place].link.instance.set(Condition::Dead),
                Blow::KillWorker(place) => self.places().labours[place].link.instance.set(Condition::Dead),
                Blow::FreezeIngress(place, time) => {
                    let instance = self.places().ingresses[place].link.instance.clone();
                    self.freeze(instance, time);
                }
                Blow::FreezeWorker(place, time) => {
                    let instance = self.places().labours[place].link.instance.clone();
                    self.freeze(instance, time);
                }
                Blow::RollIngress(place) => self.roll_ingress(place),
                Blow::RollWorker(place) => self.roll_worker(place),
                Blow::Clock(millis) => entropy::step(millis),
            }
        }
    }

    fn freeze(self: &Arc<Self>, instance: Arc<Instance>, time: Duration) {
        if instance.condition() != Condition::Running {
            return;
        }
        instance.set(Condition::Frozen);
        let now = entropy::elapsed();
        self.halts().push((instance.name().to_owned(), now..now + time));
        let log = self.log.clone();
        self.acting.spawn(async move {
            sleep(time).await;
            instance.set(Condition::Running);
            log.tell(None, || format!("{} goes on", instance.name()));
        });
    }

    fn roll_ingress(self: &Arc<Self>, place: usize) {
        let mut places = self.places();
        let Some(leaving) = places.ingresses[place].leave() else {
            return;
        };
        let (name, died) = {
            let link = &places.ingresses[place].link;
            (link.instance.name().to_owned(), link.closed.clone())
        };
        drop(places);
        self.leaving
            .lock()
            .expect("nothing panics with the list")
            .push((name.clone(), entropy::elapsed()));
        let world = self.clone();
        self.acting.spawn(async move {
            world.leave(&name, leaving, died).await;
            let mut places = world.places();
            // One that died on its way out is started again like any other that died.
            if places.ingresses[place].link.instance.name() == name && !world.was_dead(&name) {
                places.ingresses[place] = world.new_ingress(&mut places, place);
            }
        });
    }

    fn roll_worker(self: &Arc<Self>, place: usize) {
        let mut places = self.places();
        let Some(leaving) = places.labours[place].leave(self.plan.settings.drain_timeout) else {
            return;
        };
        let (name, died) = {
            let link = &places.labours[place].link;
            (link.instance.name().to_owned(), link.closed.clone())
        };
        drop(places);
        let world = self.clone();
        self.acting.spawn(async move {
            world.leave(&name, leaving, died).await;
            let mut places = world.places();
            if places.labours[place].link.instance.name() == name && !world.was_dead(&name) {
                places.labours[place] = world.new_labour(&mut places, place);
            }
        });
    }

    /// Waits until an instance has left.
    async fn leave(&self, name: &str, leaving: JoinHandle<()>, died: CancellationToken) {
        let longest = self.plan.settings.drain_timeout + self.plan.settings.shutdown_delay + secs(30);
        tokio::select! {
            left = tokio::time::timeout(longest, leaving) => {
                self.log.tell(None, || format!("{name} has left"));
                if left.is_err() && !self.was_halted(name) {
                    self.complain(None, format!("{name} does not leave"));
                }
            }
            () = died.cancelled() => {}
        }
    }

    /// Notices processes that died, and starts others in their places.
    pub(super) async fn tend(self: Arc<Self>) {
        while self.over.run_until_cancelled(sleep(millis(50))).await.is_some() {
            let (mut dead, mut ended) = (Vec::new(), Vec::new());
            {
                let places = self.places();
                let ingresses = places.ingresses.iter().enumerate();
                let ingresses = ingresses.map(|(place, one)| (true, place, &one.link, one.has_ended()));
                let labours = places.labours.iter().enumerate();
                let labours = labours.map(|(place, one)| (false, place, &one.link, one.has_ended()));
                for (is_ingress, place, link, has_ended) in ingresses.chain(labours) {
                    let (name, is_dead) = (link.instance.name(), link.instance.condition() == Condition::Dead);
                    if is_dead && !link.closed.is_cancelled() {
                        link.closed.cancel();
                        dead.push((is_ingress, place, name.to_owned()));
                    } else if !is_dead && has_ended {
                        // A process that only looks alive: it would leave now, and be started again.
                        link.instance.set(Condition::Dead);
                        ended.push(name.to_owned());
                    }
                }
            }
            for name in ended {
                self.complain(None, format!("a loop of {name} has ended"));
            }
            for (is_ingress, place, name) in dead {
                self.log.fault(|| format!("{name} is dead"));
                let now = entropy::elapsed();
                self.halts()
                    .push((name.clone(), now.saturating_sub(millis(60))..Duration::MAX));
                let world = self.clone();
                tokio::spawn(async move {
                    sleep(RESTART).await;
                    let mut places = world.places();
                    match is_ingress {
                        true => places.ingresses[place] = world.new_ingress(&mut places, place),
                        false => places.labours[place] = world.new_labour(&mut places, place),
                    }
                });
            }
        }
    }
}
