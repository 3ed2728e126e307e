//! The size of bodies. Validation keeps the question and drops members it does not know: what is measured is
//! reading and validating a larger body, since no larger body ever reaches the stream.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use load_test::cities::Cities;
use load_test::connection::Connection;
use load_test::question::Question;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use super::{CONNECTIONS, Figures, WARM_UP, compared, plain};
use crate::cluster::{Cluster, Programs, target};
use crate::load::{Counts, watch};
use crate::results::Cost;

/// Up to what the weather takes.
pub(super) const POINTS: [usize; 5] = [100, 512, 1024, 4096, 8192];
pub(super) const HEADING: &str = "body, bytes";
pub(super) const NOTE: &str = "64 connections in a closed loop. A body is a question with a member of filling that \
    validation accepts and drops: what grows is reading and validating it, the entry in the stream stays the same.";
pub(super) const COSTS: [Cost; 4] = [
    compared("CPU µs/request"),
    compared("of that Redis, µs"),
    plain("CPU µs/KiB of body"),
    plain("requests/s"),
];

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn measure(size: usize, programs: &Programs, length: Duration) -> Result<Figures, String> {
    let cluster = Cluster::all(programs, 1, &[]).await?;
    let place = Cities::world().places()[0].clone();
    let target = target(&cluster.ingresses[0]);
    let load = Rc::new(Load {
        request: target.encode("POST", "/WeatherForecast/city", Some(&body(size))),
        question: Question::new(&target, place),
        counts: Cell::default(),
    });
    let address = cluster.ingresses[0].address;
    let window = LocalSet::new()
        .run_until(async {
            let mut loops = JoinSet::new();
            for _ in 0..CONNECTIONS {
                loops.spawn_local(load.clone().run(Connection::new(address)));
            }
            sleep(WARM_UP).await;
            watch(&cluster, length, || load.counts.get()).await
        })
        .await?;
    let kibibytes = size as f64 / 1024.0;
    Ok(vec![
        Some(window.cpu()),
        Some(window.redis_cpu()),
        Some(window.cpu() / kibibytes),
        Some(window.rate()),
    ])
}

/// A question of exactly `size` bytes.
fn body(size: usize) -> String {
    let (start, end) = (r#"{"city":"New York","location":"Downtown","filling":""#, r#""}"#);
    let filling = size.saturating_sub(start.len() + end.len());
    format!("{start}{}{end}", "x".repeat(filling))
}

/// A closed loop of one request: the engine's own questions are all small.
struct Load {
    request: Vec<u8>,
    question: Question,
    counts: Cell<Counts>,
}

impl Load {
    async fn run(self: Rc<Self>, mut connection: Connection) {
        loop {
            let answer = connection.ask(&self.request, Instant::now() + TIMEOUT).await;
            let right = answer.is_ok_and(|response| response.status == 200 && self.question.recognises(response.body));
            let Counts { requests, failed } = self.counts.get();
            self.counts.set(Counts {
                requests: requests + 1,
                failed: failed + u64::from(!right),
            });
            if !right {
                // Refusals come by the ten thousand a second.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_question_of_the_size_asked_for() {
        for size in POINTS {
            let body = body(size);
            let question: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((body.len(), question["city"].as_str()), (size, Some("New York")));
        }
    }
}
