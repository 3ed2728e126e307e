//! The end of a wait: what goes on gets a record, and its caller the promise of a result.

use std::time::Duration;

use super::{
    Answer, CorrelationId, Instant, Outcome, Problem, ProblemType, Rejection, Reply, Requester, Seen, Wait, Waiting,
};
use roundtrip::broker::{BrokerErrorKind, NewRecord, Record};
use tokio::time::{sleep, timeout};

/// How long after its wait a caller stays for what must be known before it leaves: that its request is in the stream,
/// and that its promise is written. The broker takes it, or says no, in less; one that is loading takes longer.
pub(super) const PUBLICATION: Duration = Duration::from_secs(2);

/// How soon a broker is asked again that could not be asked.
const ASK_AGAIN: Duration = Duration::from_millis(250);

impl Requester {
    /// Promises the result of what is still at work.
    pub(super) async fn promise(
        &self,
        mut waiting: Waiting<'_>,
        id: CorrelationId,
        wait: Wait,
        admitted: Instant,
    ) -> Result<Answer, Problem> {
        if wait == Wait::ForAnswer {
            self.metrics.timeouts.inc();
        }
        let published = match waiting.has_record {
            true => Ok(()),
            false => self.until_published(&waiting).await,
        };
        waiting.disconnects = None;
        published?;
        // The record first: a reply that comes now finds it, or whoever still waits.
        let entry = waiting.place.entry();
        let heard = match entry {
            Some(_) if !waiting.has_record => self.keep_or_hear(&mut waiting, id).await,
            _ => None,
        };
        let given_up = heard.or_else(|| waiting.place.give_up());
        // The work may have more time than its caller.
        if given_up.is_none() && admitted.elapsed() >= waiting.budget.as_duration() {
            self.admission.count_expired();
        }
        match given_up {
            Some(Outcome::Replied(outcome)) => {
                // A moment too late, and good all the same.
                let reply = Reply::new(id, waiting.origin.clone(), outcome);
                let _ = self.records.complete(std::slice::from_ref(&reply)).await;
                self.done(&waiting, id, Outcome::Replied(reply.outcome), admitted).await
            }
            Some(Outcome::Unpublished(reason)) => Err(self.unpublished(reason)),
            None if waiting.has_record => {
                let record = self.watches.read(id).await.ok().flatten();
                ended(id, record.as_deref(), false).map_or_else(|| self.promised(id, record, wait), Ok)
            }
            // Being sent for longer than that takes.
            None if entry.is_none() => Err(self.unpublished(BrokerErrorKind::Unconfirmed)),
            None => Err(self.no_reply("it may still run, and its result is not kept")),
        }
    }

    /// Waits until it is known whether the request is in the stream: only what is there can be promised. One that still
    /// waits to be sent after that is taken back, and never runs.
    async fn until_published(&self, waiting: &Waiting<'_>) -> Result<(), Problem> {
        let known = timeout(PUBLICATION, waiting.place.published()).await;
        match known.is_err() && waiting.place.take_back() {
            true => Err(self.unpublished(BrokerErrorKind::Unavailable)),
            false => Ok(()),
        }
    }

    /// Writes the record of a request that goes on. Where that fails, the caller stays while it is tried again, or
    /// until the outcome is there, which is returned.
    async fn keep_or_hear(&self, waiting: &mut Waiting<'_>, id: CorrelationId) -> Option<Outcome> {
        // Whoever leaves now may leave a record.
        waiting.has_record = true;
        let mut stays_until = None;
        loop {
            let record = NewRecord {
                id,
                origin: &waiting.origin,
                entry: waiting.place.entry(),
                budget: waiting.budget,
                requester: &self.reply_to,
            };
            let kept = self.records.create(&record).await;
            let until = *stays_until.get_or_insert_with(|| Instant::now() + PUBLICATION);
            if kept.is_ok() {
                return None;
            }
            if Instant::now() >= until {
                waiting.has_record = false;
                return None;
            }
            if let Ok(Some(outcome)) = timeout(ASK_AGAIN, waiting.place.outcome()).await {
                return Some(outcome);
            }
        }
    }

    /// Waits for the result of a request that another call made. Where no place to wait is free, `call` hears how the
    /// request is now.
    pub(super) async fn follow(
        &self,
        id: CorrelationId,
        call: CorrelationId,
        wait: Wait,
        deadline: Instant,
    ) -> Result<Answer, Problem> {
        let place = self.wait_limits.followers.take();
        let until = place.as_ref().map_or_else(Instant::now, |_| deadline);
        let until = until.max(Instant::now() + self.probation);
        let record = loop {
            match self.end_of(id, until, wait).await {
                Ok(record) => break record,
                // It was there a moment ago, and goes on: whoever has time waits for it, as who asked first does.
                Err(_) if self.may_wait(wait) && Instant::now() + ASK_AGAIN < until => sleep(ASK_AGAIN).await,
                Err(_) => return self.promised(id, None, wait),
            }
        };
        if let Some(answer) = ended(id, record.as_deref(), true) {
            return Ok(answer);
        }
        match record {
            // It was there a moment ago: taken back, because it missed its tier of durability, or lost with all else.
            None => Err(self.unpublished(BrokerErrorKind::Unconfirmed)),
            Some(_) if place.is_none() && wait == Wait::ForAnswer => {
                Err(self.refuse(Rejection::Followers, call).at(id))
            }
            record => self.promised(id, record, wait),
        }
    }

    /// Whether one who waits so may go on: this instance has time.
    fn may_wait(&self, wait: Wait) -> bool {
        !self.last_call.is_cancelled() && (wait == Wait::ForAnswer || !self.draining.is_cancelled())
    }

    /// Says that no reply came in time, and why, where that is known.
    fn no_reply(&self, then: &str) -> Problem {
        let why = match self.admission.has_no_workers() {
            true => ": no worker is connected",
            false => "",
        };
        let detail = format!("the request was accepted, but no reply came in time{why}; {then}");
        Problem::new(ProblemType::ReplyTimeout, detail)
    }

    fn promised(&self, id: CorrelationId, record: Seen, wait: Wait) -> Result<Answer, Problem> {
        let reason = if wait == Wait::ForAnswer { "timeout" } else { "wait" };
        self.metrics.promised.with_label_values(&[reason]).inc();
        if wait == Wait::ForAnswer {
            let problem = self.no_reply("its outcome is not known yet, and can be asked for at Location");
            return Err(problem.at(id));
        }
        Ok(Answer::Promised {
            id,
            accepted: record.as_ref().map(|record| record.created),
            record,
        })
    }
}

/// The answer that a record holds, once it has ended.
fn ended(id: CorrelationId, record: Option<&Record>, replayed: bool) -> Option<Answer> {
    let record = record?;
    Some(Answer::Done {
        id,
        outcome: record.outcome.clone()?,
        replayed,
        has_record: true,
        has_key: record.has_key,
    })
}
