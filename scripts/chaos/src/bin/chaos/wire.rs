//! A requester without an ingress: publishes by itself and reads its own reply stream. An ingress passes over a second
//! reply; this one counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use roundtrip::broker::{self, BrokerOptions, BrokerUrl, Durability, ReplyStream, Retention};
use roundtrip::{Broker, Budget, CorrelationId, Fault, FaultCode, Keep, Reply, ReplyTo, Request};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::answer;
use crate::history::{Call, End, Via};
use crate::traffic::Traffic;

/// As the services have it; nothing here works on requests, so it decides nothing.
const LEASE: Duration = Duration::from_secs(6);

/// How often a requester says that it is there.
const ATTENDANCE: Duration = Duration::from_secs(1);

/// A requester at work.
#[derive(Debug)]
pub(crate) struct Wire {
    phase: watch::Sender<Phase>,
    task: JoinHandle<Vec<Call>>,
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
    pub(crate) begin: Instant,
}

impl Wire {
    /// Begins to ask.
    pub(crate) fn start(plan: Plan, traffic: Arc<Traffic>) -> Result<Self, String> {
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

    /// Removes the reply stream; what became of every request.
    pub(crate) async fn leave(self) -> Vec<Call> {
        self.phase.send_replace(Phase::Leaving);
        self.task.await.unwrap_or_default()
    }
}

struct Requester {
    broker: Arc<dyn Broker>,
    reply_to: ReplyTo,
    plan: Plan,
    traffic: Arc<Traffic>,
    asked: HashMap<CorrelationId, (Nonce, Call)>,
    count: watch::Sender<usize>,
}

impl Requester {
    async fn run(mut self, mut phase: watch::Receiver<Phase>) -> Vec<Call> {
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
        self.asked.into_values().map(|(_, call)| call).collect()
    }

    async fn ask(&mut self) {
        let nonce = self.traffic.next_good();
        let request = Request {
            id: CorrelationId::new(),
            reply_to: self.reply_to.clone(),
            budget: Budget::new(self.plan.budget),
            traceparent: None,
            keep: Keep::No,
            data: format!("{{\"city\":\"{nonce}\"}}").into(),
        };
        let (id, sent) = (request.id, self.plan.begin.elapsed());
        let published = self.broker.publish(&[request]).await;
        let end = match published {
            Ok(_) => End::Silent,
            Err(error) if error.may_have_applied() => End::Problem(504, "/problems/outcome-unknown"),
            Err(_) => End::Problem(503, "/problems/broker-unavailable"),
        };
        let call = Call {
            number: nonce.number,
            temper: nonce.temper,
            via: Via::Wire,
            sent,
            took: Duration::ZERO,
            end,
            answers: 0,
        };
        self.asked.insert(id, (nonce, call));
        self.note_waiting();
    }

    fn take(&mut self, reply: Reply) {
        let now = self.plan.begin.elapsed();
        let Some((nonce, call)) = self.asked.get_mut(&reply.id) else {
            // Nobody here asked: a call of its own, so that it is judged as what it is.
            let city = reply
                .outcome
                .map_or_else(|fault| fault.detail, |data| String::from_utf8_lossy(&data).into());
            let call = Call {
                number: 0,
                temper: checker::nonce::Temper::Good,
                via: Via::Wire,
                sent: now,
                took: Duration::ZERO,
                end: End::Foreign(city),
                answers: 1,
            };
            let stranger = Nonce {
                temper: call.temper,
                run: 0,
                number: 0,
            };
            self.asked.insert(reply.id, (stranger, call));
            return;
        };
        call.answers += 1;
        if call.answers == 1 {
            call.took = now.saturating_sub(call.sent);
            call.end = match &reply.outcome {
                Ok(data) => answer::weather(data, &nonce.to_string()).map_or_else(|end| end, |()| End::Ok),
                Err(fault) => end_of_fault(fault),
            };
        }
        self.note_waiting();
    }

    fn note_waiting(&self) {
        let waits = |(_, call): &&(Nonce, Call)| call.answers == 0 && call.end == End::Silent;
        self.count.send_replace(self.asked.values().filter(waits).count());
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
