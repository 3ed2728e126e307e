//! After the faults: services clean up in their own time, and how long that takes is part of the finding. A little is
//! asked meanwhile, since an allocator gives memory back only while something is done; nobody is asking at the moment
//! of a look.

use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use serde::Deserialize;
use tokio::time::sleep;

use crate::callers::Callers;
use crate::cluster::{Cluster, Loss};
use crate::history::History;
use crate::journal::Journal;
use crate::keyspace::Guests;
use crate::leaks;
use crate::nemesis::died;
use crate::redis::dead_letters;
use crate::step::Load;

/// What is asked between two looks, a second, and for how long.
const TRICKLE: f64 = 100.0;
const TRICKLE_TIME: Duration = Duration::from_secs(1);

/// A reply that is late is on its way at most as long as a settlement takes.
const LATENESS: Duration = Duration::from_millis(500);

/// The time between the load and the verdict.
pub(crate) struct Settling<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) callers: &'a Callers,
    /// Requesters of our own, which have reply streams too.
    pub(crate) requesters: usize,
    /// Which run all nonces belong to.
    pub(crate) run: u32,
    pub(crate) journal: &'a Journal,
    /// Counters that are of interest.
    pub(crate) counters: &'static [&'static str],
    pub(crate) begin: Instant,
}

impl Settling<'_> {
    /// Looks until nothing is left that should not be, at most for `patience`, and notes what is.
    pub(crate) async fn settle(self, patience: Duration, history: &mut History) -> Result<(), String> {
        let began = Instant::now();
        let guests = Guests {
            run: self.run,
            told: self.journal.ids(),
            some_left: self.journal.some_left(),
        };
        loop {
            self.callers.ask_each_once().await;
            self.callers.hang_up();
            if let Some(upstream) = &self.cluster.upstream {
                upstream.hang_up().await;
            }
            history.remains = leaks::look(self.cluster, self.requesters, &guests).await?;
            history.remains.waited = began.elapsed();
            if history.remains.is_clean() {
                history.remains.settled = Some(began.elapsed());
                break;
            }
            if began.elapsed() > patience {
                break;
            }
            self.callers.set(Load::Open(TRICKLE));
            sleep(TRICKLE_TIME).await;
            self.callers.finish().await;
            for loss in self.cluster.tend()? {
                // Nothing is broken any more that would explain it.
                let restarted = false;
                history
                    .events
                    .extend(died(self.begin.elapsed(), Loss { restarted, ..loss }));
            }
        }
        sleep(LATENESS).await;
        history.counters = leaks::totals(self.cluster, self.counters).await?;
        history.late_replies = leaks::counters(self.cluster, "roundtrip_ingress_late_replies_total").await?;
        let mut client = self.cluster.redis.client().await?;
        let letters = dead_letters(&mut client).await?;
        history.dead_letters = letters.iter().map(|data| number_in(data)).collect();
        Ok(())
    }
}

/// As much of a dead letter's input as is of interest here.
#[derive(Deserialize)]
struct Question {
    city: String,
}

fn number_in(data: &str) -> Option<u64> {
    let question: Question = serde_json::from_str(data).ok()?;
    question.city.parse::<Nonce>().ok().map(|nonce| nonce.number)
}
