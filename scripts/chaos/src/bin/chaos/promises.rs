//! Callers who do not wait to the end. Most are promised a result under a key of their own, and try again with that key
//! until they are; some of them ask through two doors at the same moment. Others wait for a second, without a key. Some
//! change their mind at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use load_test::connection::Connection;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::history::{End, Via, Wish};
use crate::journal::{Journal, Told};
use crate::load_balancer::LoadBalancer;
use crate::traffic::Traffic;
use crate::wishes::{Prefer, Wishes};

/// How often a call is tried with its key, and when again.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(300);

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Every so many change their mind.
const FICKLE: u64 = 7;

/// How one of them asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Manner {
    /// Not waiting, under a key.
    Async,
    /// The same, and first through two doors at once.
    Twice,
    /// Waiting for a second, without a key.
    Shortly,
}

/// What a try got: through which door, how it ended, and the id of the request that can be asked for.
#[derive(Debug)]
struct Try {
    door: usize,
    end: End,
    id: Option<String>,
}

/// Everybody who does not wait. End with their value.
#[derive(Debug)]
pub(crate) struct Promises {
    asking: TaskTracker,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Promises {
    /// Asks `rate` times a second.
    pub(crate) fn start(
        (front, traffic, journal): (Arc<LoadBalancer>, Arc<Traffic>, Arc<Journal>),
        (rate, some_wait): (f64, bool),
    ) -> Self {
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
                let nonce = traffic.next_good();
                let manner = Manner::of(nonce, some_wait);
                asking.spawn(ask(front.clone(), journal.clone(), nonce, manner));
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

impl Manner {
    fn of(nonce: Nonce, some_wait: bool) -> Self {
        // Halved: whether a number is odd says through which of two doors it goes.
        match nonce.number / 2 % 4 {
            0 => Self::Twice,
            1 if some_wait => Self::Shortly,
            _ => Self::Async,
        }
    }

    fn wishes(self) -> Wishes {
        let prefer = match self {
            Self::Async | Self::Twice => Prefer::Async,
            Self::Shortly => Prefer::Wait(1),
        };
        Wishes {
            prefer,
            is_keyed: self != Self::Shortly,
            ..Wishes::default()
        }
    }

    /// Whether another try cannot make another request.
    fn may_try_again(self, end: &End) -> bool {
        self != Self::Shortly || is_definite(end)
    }
}

async fn ask(front: Arc<LoadBalancer>, journal: Arc<Journal>, nonce: Nonce, manner: Manner) {
    let wishes = manner.wishes();
    // It never waits as long as an ingress gives those who name no time.
    let times = wishes.times(Duration::ZERO);
    let place = journal.open(nonce, Via::Ingress(0), times);
    let Try { door, end, id } = try_until_told(&front, nonce, manner).await;
    if let Some(id) = id {
        let wish = match (&end, nonce.number % FICKLE) {
            (End::Promised | End::Ok, 0) => cancel(&front, door, &id).await,
            (End::Promised | End::Ok, _) => Wish::Kept,
            _ => Wish::Known,
        };
        let is_keyed = wishes.is_keyed;
        journal.tell(Told {
            nonce,
            id,
            door,
            wish,
            is_keyed,
        });
    }
    let via = Via::Ingress(front.doors[door].instance());
    journal.close(place, via, end);
}

/// Of many tries the one counts that may have worked: a refusal says nothing of the try before it.
async fn try_until_told(front: &LoadBalancer, nonce: Nonce, manner: Manner) -> Try {
    let mut counts = Try {
        door: 0,
        end: End::TurnedAway,
        id: None,
    };
    for attempt in 0..TRIES {
        for door in front.order(nonce.number + attempt as u64, true) {
            let tried = match manner {
                Manner::Twice if attempt == 0 => try_twice(front, door, nonce).await,
                _ => try_once(front, door, nonce, manner).await,
            };
            let is_over = matches!(tried.end, End::Promised | End::Ok | End::Foreign(_) | End::Damaged(_));
            let is_heard = !matches!(tried.end, End::TurnedAway | End::Broken(_) | End::Silent);
            let may_try_again = !is_over && manner.may_try_again(&tried.end);
            if is_over || is_definite(&counts.end) {
                counts = tried;
            }
            if !may_try_again {
                return counts;
            }
            if is_heard {
                break;
            }
        }
        sleep(PAUSE).await;
    }
    counts
}

/// The same request with the same key through this door and the next, at the same moment. Both are to hear of one
/// request.
async fn try_twice(front: &LoadBalancer, door: usize, nonce: Nonce) -> Try {
    let next = (door + 1) % front.doors.len();
    let (one, other) = tokio::join!(
        try_once(front, door, nonce, Manner::Twice),
        try_once(front, next, nonce, Manner::Twice)
    );
    match (&one.id, &other.id) {
        (Some(id), Some(another)) if id != another => Try {
            end: End::Damaged(format!("one key, and two requests: {id} and {another}")),
            ..one
        },
        (Some(_), _) => one,
        (None, Some(_)) => other,
        (None, None) if is_definite(&one.end) => other,
        (None, None) => one,
    }
}

async fn try_once(front: &LoadBalancer, door: usize, nonce: Nonce, manner: Manner) -> Try {
    let request = front.doors[door].call(nonce, &manner.wishes().headers(nonce));
    let mut connection = Connection::new(front.doors[door].address);
    let (end, id) = match connection.ask(&request, Instant::now() + PATIENCE).await {
        Ok(response) => {
            let end = answer::end_of(&response, &nonce.to_string());
            let id = match end {
                // Without a key nothing is kept of it.
                End::Ok if manner == Manner::Shortly => None,
                // Of a try before this one, which was answered to nobody: it is done already, and its record is there.
                End::Ok => answer::request_in(response.body),
                _ => answer::location_of(&response),
            };
            (end, id)
        }
        Err(failure) => (answer::end_of_failure(failure), None),
    };
    Try { door, end, id }
}

/// Whether a try that ended so has left nothing behind.
fn is_definite(end: &End) -> bool {
    matches!(end, End::TurnedAway | End::Problem(400..=499 | 503, _))
}

async fn cancel(front: &LoadBalancer, door: usize, id: &str) -> Wish {
    let request = front.doors[door]
        .target
        .encode("DELETE", &format!("/requests/{id}"), None);
    let mut connection = Connection::new(front.doors[door].address);
    match connection.ask(&request, Instant::now() + PATIENCE).await {
        Ok(response) if response.status == 200 => Wish::Cancelled,
        _ => Wish::Either,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use checker::nonce::Temper;

    use super::*;

    #[test]
    fn each_manner_goes_through_either_door_and_some_wait_only_where_they_may() {
        let manners = |some_wait| {
            let nonce = |number| Nonce {
                temper: Temper::Good,
                run: 1,
                number,
            };
            let all = (0..16).map(move |number| (Manner::of(nonce(number), some_wait), number % 2));
            all.collect::<HashSet<_>>()
        };
        assert_eq!((manners(true).len(), manners(false).len()), (6, 4));
    }
}
