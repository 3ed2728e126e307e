//! Callers who do not wait: each is promised a result under a key of its own, tries again with that key until it is, and
//! asks for the result later, at another door. Some change their mind at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use futures_util::StreamExt as _;
use load_test::connection::Connection;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::front::Front;
use crate::history::{End, Promise, Wish};
use crate::traffic::Traffic;

/// How often a call is tried with its key, and when again.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long a promise may take to be kept: a dead ingress is found out after 45 seconds.
const KEPT_WITHIN: Duration = Duration::from_secs(75);

/// How many are asked for at the same time.
const REDEEMING: usize = 32;

/// Every so many change their mind.
const FICKLE: u64 = 7;

/// Everybody who does not wait. End with their value.
#[derive(Debug)]
pub(crate) struct Promises {
    front: Arc<Front>,
    made: Arc<Mutex<Vec<Made>>>,
    asking: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// What was promised.
#[derive(Debug, Clone)]
struct Made {
    nonce: Nonce,
    id: String,
    door: usize,
    wish: Wish,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

impl Promises {
    /// Asks `rate` times a second.
    pub(crate) fn start(front: Arc<Front>, traffic: Arc<Traffic>, rate: f64) -> Self {
        let (stop, asking, made) = (CancellationToken::new(), TaskTracker::new(), Arc::default());
        let promises = Self {
            front: front.clone(),
            made: Arc::clone(&made),
            asking: asking.clone(),
            stop: stop.clone(),
            _stop: stop.clone().drop_guard(),
        };
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                asking.spawn(ask(front.clone(), made.clone(), traffic.next_good()));
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

    /// Asks for all that was promised, each at another door than the one that promised it.
    pub(crate) async fn redeem(self) -> Vec<Promise> {
        let made = std::mem::take(&mut *self.made.lock().expect("no code panics while it holds the list"));
        let redeeming = made.into_iter().map(|made| redeem(self.front.clone(), made));
        // A few at a time: a thousand connections at once would be a load of their own, whose memory stays for a while.
        futures_util::stream::iter(redeeming)
            .buffer_unordered(REDEEMING)
            .collect()
            .await
    }
}

async fn ask(front: Arc<Front>, made: Arc<Mutex<Vec<Made>>>, nonce: Nonce) {
    let body = format!("{{\"city\":\"{nonce}\"}}");
    for attempt in 0..TRIES {
        for door in front.order(nonce.number + attempt as u64) {
            let headers = format!("Prefer: respond-async\r\nIdempotency-Key: {nonce}\r\n");
            let request = with(
                &front.doors[door]
                    .target
                    .encode("POST", "/WeatherForecast/city", Some(&body)),
                &headers,
            );
            let mut connection = Connection::new(front.doors[door].address);
            let Ok(response) = connection.ask(&request, Instant::now() + PATIENCE).await else {
                continue;
            };
            let accepted = serde_json::from_slice::<Accepted>(response.body);
            let id = match accepted {
                Ok(accepted) if response.status == 202 => accepted.id,
                // Of a try before this one, which was answered to nobody: it is done already.
                _ if response.status == 200 => match serde_json::from_slice::<serde_json::Value>(response.body) {
                    Ok(weather) => weather["requestId"].as_str().unwrap_or_default().to_owned(),
                    Err(_) => continue,
                },
                _ => break,
            };
            let wish = match nonce.number % FICKLE {
                0 => cancel(&front, door, &id).await,
                _ => Wish::Kept,
            };
            let promise = Made { nonce, id, door, wish };
            made.lock()
                .expect("no code panics while it holds the list")
                .push(promise);
            return;
        }
        sleep(PAUSE).await;
    }
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

async fn redeem(front: Arc<Front>, made: Made) -> Promise {
    let until = Instant::now() + KEPT_WITHIN;
    let (count, nonce) = (front.doors.len(), made.nonce.to_string());
    let path = format!("/requests/{}/result", made.id);
    let mut end = End::Silent;
    for turn in 1.. {
        let door = &front.doors[(made.door + turn) % count];
        let request = with(&door.target.encode("GET", &path, None), "Prefer: wait=3\r\n");
        end = match Connection::new(door.address)
            .ask(&request, Instant::now() + PATIENCE)
            .await
        {
            Ok(response) => answer::end_of(response.status, response.body, &nonce),
            Err(failure) => answer::end_of_failure(failure),
        };
        let again = match &end {
            End::Problem(_, kind) => kind.ends_with("/not-finished") || kind.ends_with("/broker-unavailable"),
            End::Ok | End::Foreign(_) | End::Damaged(_) => false,
            End::TurnedAway | End::Broken(_) | End::Silent => true,
        };
        if !again || Instant::now() >= until {
            break;
        }
        sleep(PAUSE).await;
    }
    Promise {
        number: made.nonce.number,
        wish: made.wish,
        end,
    }
}

/// The same request with more headers, behind its first line.
fn with(request: &[u8], headers: &str) -> Vec<u8> {
    let line = request.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    [&request[..line], headers.as_bytes(), &request[line..]].concat()
}
