//! Callers: each asks at a door, and does what else the plan says.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::CorrelationId;
use tokio::time::sleep;

use super::{Call, World};
use crate::caller::{self, Answer, End};
use crate::entropy;
use crate::log::short;
use crate::plan::{Ask, Then, millis, secs};

/// How often a caller tries again, and how long it waits before.
const TRIES: usize = 4;
const PAUSE: Duration = millis(400);

impl World {
    /// Makes a call, and whatever its caller does besides.
    pub(super) async fn ask(self: Arc<Self>, ask: Ask) {
        let tries = if ask.then == Then::TriesAgain { TRIES } else { 1 };
        for attempt in 0..tries {
            let door = ask.door + attempt;
            let hangs_up = match ask.then {
                Then::HangsUp(time) => Some(time),
                _ => None,
            };
            let end = self.call(&ask, door, hangs_up).await;
            let is_known = match &end {
                End::Answer(answer) => self.take(&ask, answer).await,
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
    async fn take(self: &Arc<Self>, ask: &Ask, answer: &Answer) -> bool {
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
