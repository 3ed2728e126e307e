//! Callers who do not wait: each is promised a result under a key of its own, and tries again with that key until it
//! is. Some change their mind at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use load_test::connection::Connection;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::front::{Front, with};
use crate::history::{End, Via, Wish};
use crate::journal::{Journal, Times, Told};
use crate::traffic::Traffic;

/// How often a call is tried with its key, and when again.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Every so many change their mind.
const FICKLE: u64 = 7;

/// JOB_TIMEOUT of the ingresses, which no scenario changes; nobody waits for it.
const TIMES: Times = Times {
    budget: Duration::from_secs(3600),
    wait: Duration::ZERO,
};

/// Everybody who does not wait. End with their value.
#[derive(Debug)]
pub(crate) struct Promises {
    asking: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Promises {
    /// Asks `rate` times a second.
    pub(crate) fn start(front: Arc<Front>, traffic: Arc<Traffic>, journal: Arc<Journal>, rate: f64) -> Self {
        let (stop, asking) = (CancellationToken::new(), TaskTracker::new());
        let promises = Self {
            asking: asking.clone(),
            stop: stop.clone(),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                asking.spawn(ask(front.clone(), journal.clone(), traffic.next_good()));
            }
        });
        promises
    }

    /// Asks nothing more, and waits until everybody has a promise, or has given up.
    pub(crate) async fn finish(&self) {
        self.stop.cancel();
        self.asking.close();
        self.asking.wait().await;
    }
}

async fn ask(front: Arc<Front>, journal: Arc<Journal>, nonce: Nonce) {
    let place = journal.open(nonce, Via::Ingress(0), TIMES);
    // Of many tries the one counts that may have worked: a refusal says nothing of the try before it.
    let mut counts = (0, End::TurnedAway, None);
    'tries: for attempt in 0..TRIES {
        for door in front.order(nonce.number + attempt as u64) {
            let (end, id) = try_once(&front, door, nonce).await;
            let is_over = matches!(end, End::Promised | End::Ok | End::Foreign(_) | End::Damaged(_));
            let is_heard = !matches!(end, End::TurnedAway | End::Broken(_) | End::Silent);
            if is_over || is_definite(&counts.1) {
                counts = (door, end, id);
            }
            match (is_over, is_heard) {
                (true, _) => break 'tries,
                (false, true) => break,
                (false, false) => {}
            }
        }
        sleep(PAUSE).await;
    }
    let (door, end, id) = counts;
    if let Some(id) = id {
        let wish = match (&end, nonce.number % FICKLE) {
            (End::Promised | End::Ok, 0) => cancel(&front, door, &id).await,
            (End::Promised | End::Ok, _) => Wish::Kept,
            _ => Wish::Known,
        };
        journal.tell(Told { nonce, id, door, wish });
    }
    let via = Via::Ingress(front.doors[door].instance());
    journal.close(place, via, end);
}

/// What one try got, and the id of the request that can be asked for.
async fn try_once(front: &Front, door: usize, nonce: Nonce) -> (End, Option<String>) {
    let body = format!("{{\"city\":\"{nonce}\"}}");
    let headers = format!("Prefer: respond-async\r\nIdempotency-Key: {nonce}\r\n");
    let door = &front.doors[door];
    let request = door.target.encode("POST", "/WeatherForecast/city", Some(&body));
    let mut connection = Connection::new(door.address);
    match connection
        .ask(&with(&request, &headers), Instant::now() + PATIENCE)
        .await
    {
        Ok(response) => {
            let end = answer::end_of(&response, &nonce.to_string());
            // Of a try before this one, which was answered to nobody: it is done already, and its record is there.
            let id = match end {
                End::Ok => answer::request_in(response.body),
                _ => answer::location_of(&response),
            };
            (end, id)
        }
        Err(failure) => (answer::end_of_failure(failure), None),
    }
}

/// Whether a try that ended so has left nothing behind.
fn is_definite(end: &End) -> bool {
    matches!(end, End::TurnedAway | End::Problem(400..=499 | 503, _))
}

async fn cancel(front: &Front, door: usize, id: &str) -> Wish {
    let request = front.doors[door]
        .target
        .encode("DELETE", &format!("/requests/{id}"), None);
    let mut connection = Connection::new(front.doors[door].address);
    match connection.ask(&request, Instant::now() + PATIENCE).await {
        Ok(response) if response.status == 200 => Wish::Cancelled,
        _ => Wish::Either,
    }
}
