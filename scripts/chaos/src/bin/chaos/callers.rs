//! The callers: each asks once, over a keep-alive connection, and what it got is recorded. Requests start when they
//! are due, whatever the answers do; only a limit on callers, far above what a scenario needs, bounds them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use checker::nonce::{Nonce, Temper};
use load_test::connection::Connection;
use load_test::failure::FailureKind;
use load_test::response::Response;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::history::{End, Via, Wish};
use crate::journal::{Journal, Times, Told};
use crate::load_balancer::LoadBalancer;
use crate::step::Load;
use crate::traffic::Traffic;
use crate::wishes::Wishes;

/// Callers at the same time, at most: each may have a connection to every ingress, and those are descriptors.
const MAX_CALLERS: usize = 12_000;

/// How much longer than REQUEST_TIMEOUT a caller waits: whoever is not told by then is never told.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How precisely requests start.
const TICK: Duration = Duration::from_millis(1);

/// The most requests that start late at once after a stall of this program.
const MAX_BURST: f64 = 200.0;

/// All callers of a scenario. End with their value.
#[derive(Debug)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
    load: watch::Sender<Load>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    front: Arc<LoadBalancer>,
    traffic: Arc<Traffic>,
    journal: Arc<Journal>,
    times: Times,
    /// How long a caller stays.
    patience: Duration,
    wishes: Wishes,
    /// Callers that wait for something to ask; the last to come goes first, so that few connections are in use.
    idle: Mutex<Vec<Caller>>,
    places: Arc<Semaphore>,
    calling: TaskTracker,
    good: AtomicU64,
    starved: AtomicU64,
}

#[derive(Debug)]
struct Caller(Vec<Connection>);

impl Callers {
    /// Callers of `front`, with wishes; who does not hang up stays for `grace` longer than it waits. Nothing is asked
    /// yet.
    pub(crate) fn start(
        (front, traffic, journal): (Arc<LoadBalancer>, Arc<Traffic>, Arc<Journal>),
        request_timeout: Duration,
        grace: Duration,
        wishes: Wishes,
    ) -> Self {
        let times = wishes.times(request_timeout);
        let (load, watching) = watch::channel(Load::Idle);
        let shared = Arc::new(Shared {
            front,
            traffic,
            journal,
            times,
            patience: wishes.leave.unwrap_or(times.wait + grace),
            wishes,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_CALLERS)),
            calling: TaskTracker::new(),
            good: AtomicU64::new(0),
            starved: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(dispatch(shared.clone(), watching)),
        );
        Self {
            shared,
            load,
            _stop: stop.drop_guard(),
        }
    }

    /// Changes how much is asked.
    pub(crate) fn set(&self, load: Load) {
        self.load.send_replace(load);
    }

    /// Good answers so far.
    pub(crate) fn good(&self) -> u64 {
        self.shared.good.load(Ordering::Relaxed)
    }

    /// Requests that began late because no caller was left to ask them.
    pub(crate) fn starved(&self) -> u64 {
        self.shared.starved.load(Ordering::Relaxed)
    }

    /// Asks one more at each door.
    pub(crate) async fn ask_each_once(&self) {
        for _ in &self.shared.front.doors {
            let place = self.shared.places.clone().acquire_owned().await;
            let place = place.expect("the places are never closed");
            self.shared.ask(place, self.shared.next());
        }
        self.finish().await;
    }

    /// Asks so many of a temper, at once.
    pub(crate) async fn ask_of(&self, temper: Temper, count: usize) {
        for _ in 0..count {
            let place = self.shared.places.clone().acquire_owned().await;
            let place = place.expect("the places are never closed");
            self.shared.ask(place, self.shared.traffic.next_of(temper));
        }
    }

    /// Asks nothing more, and waits until everybody has an answer, or has lost patience.
    pub(crate) async fn finish(&self) {
        self.set(Load::Idle);
        // What the dispatcher begins before it notices is awaited too.
        tokio::time::sleep(10 * TICK).await;
        self.shared.calling.close();
        self.shared.calling.wait().await;
        self.shared.calling.reopen();
    }

    /// Closes all connections that are not in use.
    pub(crate) fn hang_up(&self) {
        lock(&self.shared.idle).clear();
    }
}

async fn dispatch(shared: Arc<Shared>, mut load: watch::Receiver<Load>) {
    loop {
        let now = *load.borrow_and_update();
        tokio::select! {
            () = ask_by(&shared, now) => {}
            changed = load.changed() => if changed.is_err() { return },
        }
    }
}

async fn ask_by(shared: &Arc<Shared>, load: Load) {
    let closed = |place: Result<_, _>| place.expect("the places are never closed");
    match load {
        Load::Idle => std::future::pending().await,
        Load::Closed(count) => {
            let turns = Arc::new(Semaphore::new(count));
            loop {
                let turn = closed(turns.clone().acquire_owned().await);
                shared.ask(turn, shared.next());
            }
        }
        Load::Open(rate) => {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (mut due, mut last) = (0.0, Instant::now());
            loop {
                ticks.tick().await;
                let now = Instant::now();
                due = f64::min(due + rate * now.duration_since(last).as_secs_f64(), MAX_BURST);
                last = now;
                while due >= 1.0 {
                    due -= 1.0;
                    if shared.places.available_permits() == 0 {
                        shared.starved.fetch_add(1, Ordering::Relaxed);
                    }
                    let place = closed(shared.places.clone().acquire_owned().await);
                    shared.ask(place, shared.next());
                }
            }
        }
    }
}

impl Shared {
    /// What is asked next.
    fn next(&self) -> Nonce {
        match self.wishes.temper {
            Some(temper) => self.traffic.next_of(temper),
            None => self.traffic.next(),
        }
    }

    /// Has a request asked by whoever is idle; `place` is theirs until they are done.
    fn ask(self: &Arc<Self>, place: tokio::sync::OwnedSemaphorePermit, nonce: Nonce) {
        let new = || {
            Caller(
                self.front
                    .doors
                    .iter()
                    .map(|door| Connection::new(door.address))
                    .collect(),
            )
        };
        let mut caller = lock(&self.idle).pop().unwrap_or_else(new);
        let shared = self.clone();
        self.calling.spawn(async move {
            caller.call(&shared, nonce).await;
            lock(&shared.idle).push(caller);
            drop(place);
        });
    }
}

impl Caller {
    async fn call(&mut self, shared: &Shared, nonce: Nonce) {
        let Shared {
            front, journal, wishes, ..
        } = shared;
        let place = journal.open(nonce, Via::Ingress(0), shared.times);
        let headers = wishes.headers(nonce);
        let deadline = Instant::now() + shared.patience;
        let (mut instance, mut end) = (0, End::TurnedAway);
        for index in front.order(nonce.number, !wishes.is_stubborn) {
            let door = &front.doors[index];
            instance = door.instance();
            if wishes.is_stubborn {
                self.0[index] = Connection::new(door.address);
            }
            end = match self.0[index].ask(&door.call(nonce, &headers), deadline).await {
                Ok(response) => {
                    let end = answer::end_of(&response, &nonce.to_string());
                    if let Some((id, wish)) = told(wishes, &response, &end) {
                        let (door, is_keyed) = (index, wishes.is_keyed);
                        journal.tell(Told {
                            nonce,
                            id,
                            door,
                            wish,
                            is_keyed,
                        });
                    }
                    end
                }
                Err(failure) if failure.kind == FailureKind::Connect => continue,
                Err(failure) if failure.kind == FailureKind::Timeout && wishes.leave.is_some() => End::Left,
                Err(failure) => answer::end_of_failure(failure),
            };
            break;
        }
        if end == End::Ok {
            shared.good.fetch_add(1, Ordering::Relaxed);
        }
        journal.close(place, Via::Ingress(instance), end);
    }
}

/// Which request can be asked for after an answer, and what its caller wants of it.
fn told(wishes: &Wishes, response: &Response<'_>, end: &End) -> Option<(String, Wish)> {
    match end {
        // What has a key can be asked for with it.
        End::Ok if wishes.is_keyed => Some((answer::request_in(response.body)?, Wish::Kept)),
        End::Promised => Some((answer::location_of(response)?, Wish::Kept)),
        _ => Some((answer::location_of(response)?, Wish::Known)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds the lock")
}
