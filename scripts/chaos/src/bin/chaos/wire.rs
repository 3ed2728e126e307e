//! A requester without an ingress: publishes by itself and reads its own reply stream. An ingress passes over a second
//! reply; this one counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use checker::nonce::Nonce;
use roundtrip::broker::{self, BrokerOptions, BrokerUrl, Durability, ReplyStream, Retention};
use roundtrip::{Broker, Budget, CorrelationId, Fault, FaultCode, Keep, Reply, ReplyTo, Request};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::answer;
use crate::history::{End, Via};
use crate::journal::{Journal, Place, Times};
use crate::traffic::Traffic;

/// As the services have it; nothing here works on requests, so it decides nothing.
const LEASE: Duration = Duration::from_secs(6);

/// How often a requester says that it is there.
const ATTENDANCE: Duration = Duration::from_secs(1);

/// A requester at work.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    waiting: watch::Receiver<usize>,
}

/// What the requester does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking,
    /// Nothing new is asked; replies, and second replies, are still read.
    Listening,
    Leaving,
}

/// How the requester asks.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) url: String,
    pub(crate) rate: f64,
    pub(crate) budget: Duration,
}

impl Wire {
    /// Begins to ask.
    pub(crate) fn start(plan: Plan, traffic: Arc<Traffic>, journal: Arc<Journal>) -> Result<Self, String> {
        let url: BrokerUrl = plan
            .url
            .parse()
            .map_err(|error| format!("could not reach redis: {error}"))?;
        let options = BrokerOptions {
            operation: proxy_service::OPERATION,
            lease: LEASE,
            durability: Durability::Volatile,
            retention: Retention::default(),
        };
        let (phase, watching) = watch::channel(Phase::Asking);
        let (count, waiting) = watch::channel(0);
        let requester = Requester {
            broker: broker::connect(&url, options).broker,
            reply_to: ReplyTo::unique("chaos"),
            plan,
            traffic,
            journal,
            asked: HashMap::new(),
            count,
        };
        Ok(Self {
            phase,
            task: tokio::spawn(requester.run(watching)),
            waiting,
        })
    }

    /// Asks nothing more, and waits until everything is answered, or `patience` is over.
    pub(crate) async fn finish(&mut self, patience: Duration) {
        self.phase.send_replace(Phase::Listening);
        let _ = timeout(patience, self.waiting.wait_for(|waiting| *waiting == 0)).await;
    }

    /// Removes the reply stream.
    pub(crate) async fn leave(self) -> Result<(), String> {
        self.phase.send_replace(Phase::Leaving);
        self.task.await.map_err(|error| format!("the requester broke: {error}"))
    }
}

struct Requester {
    broker: Arc<dyn Broker>,
    reply_to: ReplyTo,
    plan: Plan,
    traffic: Arc<Traffic>,
    journal: Arc<Journal>,
    /// What was asked for, and whether an answer is still to come.
    asked: HashMap<CorrelationId, (Nonce, Place, bool)>,
    count: watch::Sender<usize>,
}

impl Requester {
    async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        let mut replies = self.broker.replies(&self.reply_to);
        let mut ticks = interval(Duration::from_secs_f64(1.0 / self.plan.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first tick comes at once: a reply needs its stream before there is a request.
        let mut attendance = interval(ATTENDANCE);
        // A read is awaited to its end: one that is dropped loses what it was about to hand out.
        let mut reading = tokio::spawn(read(replies));
        loop {
            let now = *phase.borrow();
            tokio::select! {
                biased;
                _ = attendance.tick() => drop(self.broker.attend(&self.reply_to).await),
                _ = ticks.tick(), if now == Phase::Asking => self.ask().await,
                _ = phase.changed() => {}
                read_some = &mut reading => {
                    let Ok((stream, batch)) = read_some else { break };
                    replies = stream;
                    batch.into_iter().for_each(|reply| self.take(reply));
                    if now == Phase::Leaving {
                        let _ = replies.close().await;
                        break;
                    }
                    reading = tokio::spawn(read(replies));
                }
            }
        }
    }

    async fn ask(&mut self) {
        let nonce = self.traffic.next_good();
        let place = self.journal.open(nonce, Via::Wire, Times::all(self.plan.budget));
        let request = Request {
            id: CorrelationId::new(),
            reply_to: self.reply_to.clone(),
            budget: Budget::new(self.plan.budget),
            traceparent: None,
            keep: Keep::No,
            data: format!("{{\"city\":\"{nonce}\"}}").into(),
        };
        let id = request.id;
        let published = self.broker.publish(&[request]).await;
        let end = match published {
            Ok(_) => End::Silent,
            Err(error) if error.may_have_applied() => End::Problem(504, "/problems/outcome-unknown"),
            Err(_) => End::Problem(503, "/problems/broker-unavailable"),
        };
        let waits = end == End::Silent;
        self.journal.change(place, |call| call.end = end);
        self.asked.insert(id, (nonce, place, waits));
        self.note_waiting();
    }

    fn take(&mut self, reply: Reply) {
        let Some((nonce, place, waits)) = self.asked.get_mut(&reply.id) else {
            let city = reply
                .outcome
                .map_or_else(|fault| fault.detail, |data| String::from_utf8_lossy(&data).into());
            self.journal.stranger(Via::Wire, End::Foreign(answer::shown(&city)));
            return;
        };
        *waits = false;
        let end = match &reply.outcome {
            Ok(data) => answer::weather(data, &nonce.to_string()).map_or_else(|end| end, |()| End::Ok),
            Err(fault) => end_of_fault(fault),
        };
        let now = self.journal.now();
        self.journal.change(*place, |call| {
            call.answers += 1;
            if call.answers == 1 {
                call.took = now.saturating_sub(call.sent);
                call.end = end;
            }
        });
        self.note_waiting();
    }

    fn note_waiting(&self) {
        let waiting = self.asked.values().filter(|(.., waits)| *waits).count();
        self.count.send_replace(waiting);
    }
}

async fn read(mut replies: Box<dyn ReplyStream>) -> (Box<dyn ReplyStream>, Vec<Reply>) {
    let batch = replies.next().await;
    if batch.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (replies, batch.unwrap_or_default())
}

/// The problem an ingress would make of a fault.
fn end_of_fault(fault: &Fault) -> End {
    let (status, kind) = match fault.code {
        FaultCode::Invalid => (422, "/problems/validation-failed"),
        FaultCode::NotFound => (404, "/problems/not-found"),
        FaultCode::Expired => (504, "/problems/expired"),
        FaultCode::UpstreamFailed => (502, "/problems/upstream-failed"),
        FaultCode::UpstreamRefused => (502, "/problems/upstream-refused"),
        FaultCode::UpstreamTimeout => (504, "/problems/upstream-timeout"),
        FaultCode::UpstreamUnavailable => (503, "/problems/upstream-unavailable"),
        FaultCode::DeadLettered => (500, "/problems/dead-lettered"),
        FaultCode::Cancelled => (409, "/problems/cancelled"),
        FaultCode::ResultTooLarge => (500, "/problems/result-too-large"),
        FaultCode::Internal => (500, "/problems/internal"),
    };
    End::Problem(status, kind)
}
