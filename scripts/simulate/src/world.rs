//! Plays a history: instances come and go, callers ask, and in the end every promise is followed to its end. What
//! happened is judged afterwards, by `rules`.

mod following;
mod watching;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use roundtrip::CorrelationId;
use roundtrip::broker::{Broker as _, Depth, Retention};
use roundtrip::service::task::{Condition, Instance};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{self, Answer, Door, End};
use crate::entropy;
use crate::link::Link;
use crate::log::{Log, short};
use crate::member::{Ingress, Labour};
use crate::plan::{Ask, Blow, Plan, Then, millis, secs};
use crate::server::Server;
use crate::upstream::Upstream;
use crate::weather::Weather;

pub(crate) use following::Fate;

/// How often a caller tries again, and how long it waits before.
const TRIES: usize = 4;
const PAUSE: Duration = millis(400);

/// How soon a process that died is started again.
const RESTART: Duration = millis(700);

/// A call and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    /// The instance it went to; empty where there was none.
    pub(crate) via: String,
    pub(crate) sent: Duration,
    /// `None` while it lasts.
    pub(crate) end: Option<(Duration, End)>,
    /// Callers without a key of their own that were inside with it, when it was refused.
    pub(crate) inside: usize,
}

/// What was seen of a history.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) plan: Plan,
    pub(crate) log: Arc<Log>,
    pub(crate) calls: Vec<Call>,
    /// What became of each promise.
    pub(crate) fates: Vec<(CorrelationId, Fate)>,
    /// Cancellations that the service confirmed before the work began.
    pub(crate) cancelled: Vec<CorrelationId>,
    /// What was wrong while it lasted: of whom, and what.
    pub(crate) complaints: Vec<(Option<u64>, String)>,
    /// What is left of it.
    pub(crate) depth: Depth,
    pub(crate) requesters: usize,
    pub(crate) in_flight: usize,
    /// When ingresses were asked to leave, by name.
    pub(crate) leaving: Vec<(String, Duration)>,
    /// When instances stood still or died, by name.
    pub(crate) halts: Vec<(String, std::ops::Range<Duration>)>,
    pub(crate) took: Duration,
}

/// A history that is being played.
struct World {
    plan: Arc<Plan>,
    log: Arc<Log>,
    server: Arc<Server>,
    upstream: Arc<Upstream>,
    places: Mutex<Places>,
    calls: Mutex<Vec<Call>>,
    promised: Mutex<Vec<CorrelationId>>,
    cancelled: Mutex<Vec<CorrelationId>>,
    complaints: Mutex<Vec<(Option<u64>, String)>>,
    leaving: Mutex<Vec<(String, Duration)>>,
    halts: Mutex<Vec<(String, std::ops::Range<Duration>)>>,
    /// Everything that changes places.
    acting: TaskTracker,
    /// Cancelled when no process is started any more.
    over: CancellationToken,
    seed: u64,
}

#[derive(Default)]
struct Places {
    ingresses: Vec<Ingress>,
    labours: Vec<Labour>,
    started: u64,
}

/// Plays the history of a plan, on this thread's runtime.
pub(crate) async fn play(plan: Plan, seed: u64, tells: bool) -> Seen {
    let log = Arc::new(Log::new(tells));
    let retention = Retention {
        memory_limit: plan.settings.memory_limit,
        ..Retention::default()
    };
    let world = Arc::new(World {
        server: Server::new(retention, log.clone()),
        upstream: Arc::new(Upstream {
            deeds: plan.deeds.clone(),
            moods: plan.moods.clone(),
            log: log.clone(),
        }),
        plan: Arc::new(plan),
        log,
        places: Mutex::default(),
        calls: Mutex::default(),
        promised: Mutex::default(),
        cancelled: Mutex::default(),
        complaints: Mutex::default(),
        leaving: Mutex::default(),
        halts: Mutex::default(),
        acting: TaskTracker::new(),
        over: CancellationToken::new(),
        seed,
    });
    world.play().await
}

impl World {
    async fn play(self: Arc<Self>) -> Seen {
        {
            let mut places = self.places();
            for place in 0..self.plan.ingresses {
                let ingress = self.new_ingress(&mut places, place);
                places.ingresses.push(ingress);
            }
            for place in 0..self.plan.workers {
                let labour = self.new_labour(&mut places, place);
                places.labours.push(labour);
            }
        }
        let begin = Instant::now();
        let watching = tokio::spawn(watching::watch(self.clone()));
        let tending = tokio::spawn(self.clone().tend());
        let asking = TaskTracker::new();
        let blows = tokio::spawn(self.clone().strike(begin));
        for ask in self.plan.asks.clone() {
            sleep_until(begin + ask.at).await;
            asking.spawn(self.clone().ask(ask));
        }
        asking.close();
        let _ = blows.await;
        self.acting.close();
        asking.wait().await;
        self.acting.wait().await;
        self.log.tell(None, || "nobody asks any more".to_owned());
        let fates = self.follow().await;
        watching.abort();
        self.settle().await;
        self.over.cancel();
        let _ = tending.await;
        self.finish(fates).await
    }

    /// Breaks what the plan says.
    async fn strike(self: Arc<Self>, begin: Instant) {
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
    async fn tend(self: Arc<Self>) {
        while self.over.run_until_cancelled(sleep(millis(50))).await.is_some() {
            let dead: Vec<(bool, usize, String)> = {
                let places = self.places();
                let of = |is_ingress: bool, place: usize, link: &Link, ended: &CancellationToken| {
                    let name = link.instance.name().to_owned();
                    if link.instance.condition() != Condition::Dead && ended.is_cancelled() {
                        return None;
                    }
                    let news = link.instance.condition() == Condition::Dead && !link.closed.is_cancelled();
                    news.then(|| {
                        link.closed.cancel();
                        (is_ingress, place, name)
                    })
                };
                let ingresses = places.ingresses.iter().enumerate();
                let ingresses = ingresses.filter_map(|(place, one)| of(true, place, &one.link, &one.ended));
                let labours = places.labours.iter().enumerate();
                let labours = labours.filter_map(|(place, one)| of(false, place, &one.link, &one.ended));
                ingresses.chain(labours).collect()
            };
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

    /// Makes a call, and whatever its caller does besides.
    async fn ask(self: Arc<Self>, ask: Ask) {
        let tries = if ask.then == Then::TriesAgain { TRIES } else { 1 };
        for attempt in 0..tries {
            let (door, before) = (ask.door + attempt, entropy::elapsed());
            let hangs_up = match ask.then {
                Then::HangsUp(time) => Some(time),
                _ => None,
            };
            let end = self.call(&ask, door, hangs_up).await;
            let is_known = match &end {
                End::Answer(answer) => self.take(&ask, answer, before).await,
                End::HungUp => true,
                End::Broken | End::TurnedAway => false,
            };
            if is_known {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes an answer in; returns whether it settles what its caller wanted to know.
    async fn take(self: &Arc<Self>, ask: &Ask, answer: &Answer, _: Duration) -> bool {
        if let Some(id) = answer.location {
            self.promised.lock().expect("nothing panics with the list").push(id);
            match ask.then {
                Then::Cancels(time) => self.cancel(id, ask.door, time).await,
                Then::Watches => {
                    let request = caller::ask_for("GET", format!("/requests/{id}/events"));
                    if let Some(door) = self.door(ask.door + 1) {
                        door.call(request, Some(secs(20))).await;
                    }
                }
                _ => {}
            }
            return answer.status != 504;
        }
        !matches!(answer.status, 503 | 504)
    }

    async fn cancel(&self, id: CorrelationId, door: usize, time: Duration) {
        sleep(time).await;
        let Some(door) = self.door(door) else { return };
        let request = caller::ask_for("DELETE", format!("/requests/{id}"));
        let end = door.call(request, None).await;
        self.log
            .note(id, || format!("its caller cancels it and hears {}", shown(&end)));
        if let End::Answer(answer) = end
            && answer.status == 200
        {
            self.cancelled.lock().expect("nothing panics with the list").push(id);
        }
    }

    async fn call(&self, ask: &Ask, door: usize, hangs_up: Option<Duration>) -> End {
        let at = {
            let mut calls = self.calls();
            calls.push(Call {
                ask: ask.clone(),
                via: String::new(),
                sent: entropy::elapsed(),
                end: None,
                inside: 0,
            });
            calls.len() - 1
        };
        let (end, via) = match self.door(door) {
            Some(door) => {
                let via = door.name().to_owned();
                self.calls()[at].via.clone_from(&via);
                self.log.tell(Some(ask.work), || {
                    let Ask {
                        wait,
                        key,
                        timeout,
                        then,
                        ..
                    } = ask;
                    format!("call {at} to {via}: {wait:?}, key {key:?}, timeout {timeout:?} s, {then:?}")
                });
                (door.call(caller::request(ask), hangs_up).await, via)
            }
            None => (End::TurnedAway, String::new()),
        };
        let now = entropy::elapsed();
        self.log
            .tell(Some(ask.work), || format!("call {at} ends: {}", shown(&end)));
        let mut calls = self.calls();
        let inside = calls
            .iter()
            .filter(|call| call.via == via && call.end.is_none())
            .count();
        calls[at].inside = inside;
        calls[at].end = Some((now, end.clone()));
        end
    }

    /// The door of the ingress in a place, or of the next that has one open.
    fn door(&self, place: usize) -> Option<Door> {
        let places = self.places();
        let count = places.ingresses.len();
        (0..count).find_map(|step| Door::of(&places.ingresses[(place + step) % count]))
    }

    fn new_ingress(&self, places: &mut Places, place: usize) -> Ingress {
        Ingress::start(self.link(places, "ingress", place, place), &self.plan.settings)
    }

    fn new_labour(&self, places: &mut Places, place: usize) -> Labour {
        let link = self.link(places, "worker", place, self.plan.ingresses + place);
        Labour::start(link, &self.plan.settings, &self.upstream)
    }

    fn link(&self, places: &mut Places, kind: &str, place: usize, at: usize) -> Link {
        places.started += 1;
        let instance = Instance::new(format!("{kind} {place}.{}", places.started));
        let seed = self.seed ^ places.started.wrapping_mul(0xA076_1D64_78BD_642F);
        let weather = Weather::new(self.plan.spells[at].clone(), self.plan.latency, seed);
        self.log.tell(None, || format!("{} starts", instance.name()));
        Link {
            instance,
            server: self.server.clone(),
            weather: Arc::new(Mutex::new(weather)),
            closed: CancellationToken::new(),
        }
    }

    fn complain(&self, work: Option<u64>, what: String) {
        self.log.tell(work, || format!("!! {what}"));
        let mut complaints = self.complaints.lock().expect("nothing panics with the list");
        complaints.push((work, what));
    }

    fn was_halted(&self, name: &str) -> bool {
        self.halts().iter().any(|(halted, _)| halted == name)
    }

    /// Waits until nothing waits and nothing is at work, as long as work may take, and its takeover.
    async fn settle(&self) {
        let settings = &self.plan.settings;
        let longest = settings.job_timeout.max(settings.request_timeout) + 10 * settings.lease;
        let until = entropy::elapsed() + longest;
        while entropy::elapsed() < until {
            let depth = self.server.memory.depth().await.unwrap_or_default();
            if depth.waiting + depth.claimed == 0 {
                return;
            }
            sleep(millis(100)).await;
        }
    }

    fn was_dead(&self, name: &str) -> bool {
        let halts = self.halts();
        halts
            .iter()
            .any(|(halted, time)| halted == name && time.end == Duration::MAX)
    }

    /// Lets everybody leave, and looks at what is left.
    async fn finish(self: Arc<Self>, fates: Vec<(CorrelationId, Fate)>) -> Seen {
        let in_flight = self.places().ingresses.iter().map(Ingress::in_flight).sum();
        let leaving: Vec<JoinHandle<()>> = {
            let mut places = self.places();
            let ingresses: Vec<_> = places.ingresses.iter_mut().filter_map(Ingress::leave).collect();
            let grace = self.plan.settings.drain_timeout;
            let labours = places.labours.iter_mut().filter_map(|labour| labour.leave(grace));
            ingresses.into_iter().chain(labours).collect()
        };
        let all = futures_util::future::join_all(leaving);
        if tokio::time::timeout(secs(60), all).await.is_err() {
            self.complain(None, "not everybody leaves in the end".to_owned());
        }
        let depth = self.server.memory.depth().await.unwrap_or_default();
        let list = |list: &Mutex<Vec<_>>| list.lock().expect("nothing panics with the list").clone();
        Seen {
            plan: Plan::clone(&self.plan),
            log: self.log.clone(),
            calls: self.calls().clone(),
            fates,
            cancelled: list(&self.cancelled),
            complaints: self.complaints.lock().expect("nothing panics with the list").clone(),
            depth,
            requesters: self.server.known(),
            in_flight,
            leaving: self.leaving.lock().expect("nothing panics with the list").clone(),
            halts: self.halts().clone(),
            took: entropy::elapsed(),
        }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().expect("nothing panics with the places")
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.calls.lock().expect("nothing panics with the calls")
    }

    fn halts(&self) -> std::sync::MutexGuard<'_, Vec<(String, std::ops::Range<Duration>)>> {
        self.halts.lock().expect("nothing panics with the halts")
    }
}

/// The end of a call, as people read it.
pub(crate) fn shown(end: &End) -> String {
    let End::Answer(answer) = end else {
        return format!("{end:?}");
    };
    let mut text = answer.status.to_string();
    for part in [answer.problem.as_deref(), answer.state.as_deref()]
        .into_iter()
        .flatten()
    {
        text += " ";
        text += part;
    }
    if let Some(id) = answer.location {
        text += &format!(", at {}", short(id));
    }
    if answer.replayed {
        text += ", replayed";
    }
    if let Some(retryable) = answer.retryable {
        text += &format!(", retryable: {retryable}");
    }
    if !answer.detail.is_empty() {
        text += &format!(" ({})", answer.detail);
    }
    text
}
