//! Following: every Location that a caller was told is asked, at another door than the one that told it, until a final
//! state is there. What that state is, the checker judges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use load_test::connection::Connection;
use tokio::time::sleep;

use crate::answer;
use crate::history::{End, Promise, Wish};
use crate::journal::{Journal, Told};
use crate::load_balancer::{LoadBalancer, with};

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(300);

/// How long a promise may take to be kept: a dead ingress is found out after 45 seconds, and a request that got lost
/// two minutes after its deadline.
const WITHIN: Duration = Duration::from_secs(150);

/// How many are asked for at the same time.
const AT_ONCE: usize = 32;

/// Asks for all that callers were told can be asked for.
pub(crate) async fn follow(front: Arc<LoadBalancer>, journal: Arc<Journal>) -> Vec<Promise> {
    let until = Instant::now() + WITHIN;
    let told = journal.take_told();
    let following = told.into_iter().map(|told| until_final(&front, &journal, told, until));
    // A few at a time: a thousand connections at once would be a load of their own, whose memory stays for a while.
    futures_util::stream::iter(following)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn until_final(front: &LoadBalancer, journal: &Journal, told: Told, until: Instant) -> Promise {
    let (count, nonce) = (front.doors.len(), told.nonce.to_string());
    let path = format!("/requests/{}/result", told.id);
    let mut end = End::Silent;
    for turn in 1.. {
        let door = &front.doors[(told.door + turn) % count];
        let request = with(&door.target.encode("GET", &path, None), "Prefer: wait=3\r\n");
        end = match Connection::new(door.address)
            .ask(&request, Instant::now() + PATIENCE)
            .await
        {
            Ok(response) => answer::end_of(&response, &nonce),
            Err(failure) => answer::end_of_failure(failure),
        };
        if !is_passing(&end) || Instant::now() >= until {
            break;
        }
        sleep(PAUSE).await;
    }
    if told.is_keyed && told.wish == Wish::Kept && end == End::Ok {
        end = repeat(front, &told).await;
    }
    Promise {
        number: told.nonce.number,
        wish: told.wish,
        end,
        heard: journal.now(),
    }
}

/// Asks for the same once more, with the same key: what was done is told again.
async fn repeat(front: &LoadBalancer, told: &Told) -> End {
    let nonce = told.nonce.to_string();
    let door = &front.doors[(told.door + 1) % front.doors.len()];
    let request = door.call(told.nonce, &format!("Idempotency-Key: {nonce}\r\n"));
    match Connection::new(door.address)
        .ask(&request, Instant::now() + PATIENCE)
        .await
    {
        Ok(response) => match answer::end_of(&response, &nonce) {
            End::Ok if answer::request_in(response.body).as_deref() != Some(&told.id) => {
                End::Damaged("its key is another request's".to_owned())
            }
            end => end,
        },
        Err(failure) => answer::end_of_failure(failure),
    }
}

/// Whether another answer may come: this one is not about the request's end.
fn is_passing(end: &End) -> bool {
    match end {
        End::Problem(..) => matches!(
            end.problem(),
            Some("not-finished" | "broker-unavailable" | "outcome-unknown" | "not-ready" | "too-many-connections")
        ),
        End::TurnedAway | End::Broken(_) | End::Left | End::Silent | End::Open => true,
        End::Ok | End::Foreign(_) | End::Damaged(_) | End::Promised => false,
    }
}
