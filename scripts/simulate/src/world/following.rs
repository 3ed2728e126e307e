//! Every promise is followed to its end, at whichever door is open.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::CorrelationId;
use tokio::time::sleep;

use super::World;
use crate::caller::{self, End};
use crate::entropy;
use crate::plan::{millis, secs};

/// What became of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The state it came to.
    Ended(String),
    /// It never came to an end; its last state.
    Open(String),
    /// Nobody knows it.
    Unknown,
}

/// Between two questions.
const PAUSE: Duration = millis(700);

/// After a request's own time: until a dead ingress is found out, and its work is taken over, and over again.
const GRACE: Duration = secs(75);

impl World {
    /// Asks for all that was promised, until it has ended.
    pub(super) async fn follow(self: &Arc<Self>) -> Vec<(CorrelationId, Fate)> {
        let mut promised = std::mem::take(&mut *self.promised.lock().expect("nothing panics with the list"));
        promised.sort_unstable();
        promised.dedup();
        let asking = promised.into_iter().enumerate().map(|(number, id)| {
            let world = self.clone();
            tokio::spawn(async move { (id, world.fate(number, id).await) })
        });
        let mut fates = Vec::new();
        for asked in asking.collect::<Vec<_>>() {
            if let Ok(fate) = asked.await {
                fates.push(fate);
            }
        }
        fates
    }

    async fn fate(&self, number: usize, id: CorrelationId) -> Fate {
        let longest = self.plan.settings.job_timeout.max(self.plan.settings.request_timeout);
        let until = entropy::elapsed() + longest + GRACE;
        let mut last = String::new();
        for turn in number.. {
            let end = match self.door(turn) {
                Some(door) => {
                    door.call(caller::ask_for("GET", format!("/requests/{id}")), Some(secs(10)))
                        .await
                }
                None => End::TurnedAway,
            };
            match &end {
                End::Answer(answer) if answer.status == 404 => return Fate::Unknown,
                End::Answer(answer) if answer.status == 200 => {
                    last = answer.state.clone().unwrap_or_default();
                    if !matches!(last.as_str(), "queued" | "processing") {
                        self.log.note(id, || format!("what was promised is {last}"));
                        return Fate::Ended(last);
                    }
                }
                _ => {}
            }
            if entropy::elapsed() > until {
                break;
            }
            sleep(PAUSE).await;
        }
        Fate::Open(last)
    }
}
