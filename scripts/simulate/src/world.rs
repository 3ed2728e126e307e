//! Plays a history: instances come and go, callers ask, and in the end every promise is followed to its end. What
//! happened is judged afterwards, by `rules`.

mod acting;
mod asking;
mod following;
mod watching;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use roundtrip::CorrelationId;
use roundtrip::broker::conformance::FirstQueue as _;
use roundtrip::broker::{Depth, Retention};
use roundtrip::process::task::Instance;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{Door, End};
use crate::entropy;
use crate::link::Link;
use crate::log::Log;
use crate::member::{Ingress, Labour};
use crate::plan::{Ask, Plan, millis, secs};
use crate::server::{LONG_PATIENCE, Server};
use crate::upstream::Upstream;
use crate::weather::Weather;

pub(crate) use asking::shown;
pub(crate) use following::Fate;

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
        // A reader whose answer was lost waits that long for it. Who leaves meanwhile leaves its replies to the others,
        // and here there will be none.
        sleep(LONG_PATIENCE).await;
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
