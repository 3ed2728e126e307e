//! A requester without an ingress: publishes by itself and reads its own reply stream. An ingress passes over a second
//! reply; this one counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use checker::nonce::Nonce;
use roundtrip::broker::{self, BrokerOptions, BrokerUrl, Durability, ReplyStream, Retention};
use roundtrip::{Broker, Budget, CorrelationId, Fault, FaultCode, Keep, Origin, Reply, ReplyTo, Request};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::answer;
use crate::history::{End, Via};
use crate::journal::{Journal, Place, Times};
use crate::traffic::Traffic;

/// As the services have it; nothing here works on requests, so it decides nothing.
const LEASE: Duration = Duration::from_secs(6);

/// What the names of our requesters begin with.
pub(crate) const NAME: &str = "chaos";

/// Requests of a flood that are published at once.
const FLOOD_BATCH: u32 = 2000;

/// How often a requester says that it is there.
const ATTENDANCE: Duration = Duration::from_secs(1);

/// A requester at work.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: watch::Sender<Phase>,
    floods: mpsc::Sender<Flood>,
    task: JoinHandle<()>,
    waiting: watch::Receiver<usize>,
}

/// So many requests at once, and who wants to know when they are published.
type Flood = (u32, oneshot::Sender<()>);

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
            lease: LEASE,
            durability: Durability::Volatile,
            retention: Retention::default(),
        };
        let (phase, watching) = watch::channel(Phase::Asking);
        let (count, waiting) = watch::channel(0);
        let (floods, flooding) = mpsc::channel(1);
        let requester = Requester {
            broker: broker::connect(&url, options).broker,
            reply_to: ReplyTo::unique(NAME),
            plan,
            traffic,
            journal,
            asked: HashMap::new(),
            count,
        };
        Ok(Self {
            phase,
            floods,
            task: tokio::spawn(requester.run(watching, flooding)),
            waiting,
        })
    }

    /// Asks nothing more, and waits until everything is answered, or `patience` is over.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.phase.send_replace(Phase::Listening);
        self.answered(patience).await;
    }

    /// Asks so much at once; returns when it is published.
    pub(crate) async fn flood(&self, count: u32) -> Result<(), String> {
        let (published, publishing) = oneshot::channel();
        let _ = self.floods.send((count, published)).await;
        publishing.await.map_err(|_| "the requester has gone".to_owned())
    }

    /// Waits until everything is answered, or `patience` is over.
    pub(crate) async fn answered(&self, patience: Duration) {
        let mut waiting = self.waiting.clone();
        let _ = timeout(patience, waiting.wait_for(|waiting| *waiting == 0)).await;
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
    /// Answers that are still to come.
    count: watch::Sender<usize>,
}

impl Requester {
    async fn run(mut self, mut phase: watch::Receiver<Phase>, mut floods: mpsc::Receiver<Flood>) {
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
                _ = attendance.tick() => drop(self.broker.heartbeat(&self.reply_to).await),
                Some((count, published)) = floods.recv() => {
                    for begun in (0..count).step_by(FLOOD_BATCH as usize) {
                        self.ask(FLOOD_BATCH.min(count - begun)).await;
                    }
                    let _ = published.send(());
                }
                _ = ticks.tick(), if now == Phase::Asking => self.ask(1).await,
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

    async fn ask(&mut self, count: u32) {
        let open = |_| {
            let nonce = self.traffic.next_good();
            (nonce, self.journal.open(nonce, Via::Wire, Times::all(self.plan.budget)))
        };
        let asked: Vec<_> = (0..count).map(open).collect();
        let request = |(nonce, _): &(Nonce, Place)| Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: self.reply_to.clone(),
            budget: Budget::new(self.plan.budget),
            traceparent: None,
            keep: Keep::No,
            data: format!("{{\"city\":\"{nonce}\"}}").into(),
        };
        let requests: Vec<_> = asked.iter().map(request).collect();
        let published = self.broker.publish(&requests).await;
        let end = match published {
            Ok(_) => End::Silent,
            Err(error) if error.may_have_applied() => End::Problem(504, "/problems/outcome-unknown"),
            Err(_) => End::Problem(503, "/problems/broker-unavailable"),
        };
        let waits = end == End::Silent;
        for (request, (nonce, place)) in requests.iter().zip(asked) {
            self.journal.change(place, |call| call.end = end.clone());
            self.asked.insert(request.id, (nonce, place, waits));
        }
        if waits {
            self.count.send_modify(|waiting| *waiting += requests.len());
        }
    }

    fn take(&mut self, reply: Reply) {
        let Some((nonce, place, waits)) = self.asked.get_mut(&reply.id) else {
            let city = reply
                .outcome
                .map_or_else(|fault| fault.detail, |data| String::from_utf8_lossy(&data).into());
            self.journal.stranger(Via::Wire, End::Foreign(answer::shown(&city)));
            return;
        };
        if std::mem::take(waits) {
            self.count.send_modify(|waiting| *waiting -= 1);
        }
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
