//! The end of a wait: what goes on gets a record, and its caller the promise of a result.

use super::{
    Answer, Arc, CorrelationId, Fault, FaultCode, Instant, Outcome, Problem, ProblemType, Refusal, Reply, Requester,
    Seen, Wait, Waiting, timeout_at,
};

impl Requester {
    /// Promises the result of what is still at work.
    pub(super) async fn promise(
        &self,
        mut waiting: Waiting<'_>,
        id: CorrelationId,
        wait: Wait,
        admitted: Instant,
    ) -> Result<Answer, Problem> {
        waiting.hangups = None;
        if wait == Wait::ForAnswer {
            self.metrics.timeouts.inc();
        }
        // The record first: a reply that comes now finds it, or whoever still waits.
        let kept = waiting.has_record
            || self
                .records
                .keep(id, waiting.place.entry(), waiting.budget, &self.reply_to)
                .await
                .is_ok();
        let given_up = waiting.place.give_up().await;
        // The work may have more time than its caller.
        if given_up.is_none() && admitted.elapsed() >= waiting.budget.as_duration() {
            self.admission.count_expired();
        }
        match given_up {
            Some(Outcome::Replied(outcome)) => {
                // A moment too late, and good all the same.
                let reply = Reply { id, outcome };
                let _ = self.records.finish(std::slice::from_ref(&reply)).await;
                self.done(&waiting, id, Outcome::Replied(reply.outcome), admitted).await
            }
            Some(Outcome::Unpublished(reason)) => {
                let outcome = Err(Fault::new(FaultCode::Internal, "the broker did not take the request"));
                let _ = self.records.finish(&[Reply { id, outcome }]).await;
                Err(self.unpublished(reason))
            }
            None if kept => {
                let record = self.watches.read(id).await.ok().flatten();
                self.promised(id, record, wait)
            }
            None => Err(Problem::new(
                ProblemType::ReplyTimeout,
                "the request was accepted, but no reply came in time; it may still run, and its result is not kept",
            )),
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
        let place = self.onlookers.followers.take();
        let until = place.as_ref().map_or_else(Instant::now, |_| deadline);
        let record = self.end_of(id, until, wait).await?;
        match record
            .as_deref()
            .and_then(|record| Some((record.outcome.clone()?, record.has_key)))
        {
            Some((outcome, has_key)) => Ok(Answer::Done {
                id,
                outcome,
                replayed: true,
                has_key,
            }),
            None if place.is_none() && wait == Wait::ForAnswer => Err(self.refuse(Refusal::Followers, call).at(id)),
            None => self.promised(id, record, wait),
        }
    }

    /// A record when it has ended, or as it is at the deadline; when this instance drains, for those who do not wait
    /// for the answer.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub(crate) async fn end_of(&self, id: CorrelationId, deadline: Instant, wait: Wait) -> Result<Seen, Problem> {
        let mut watch = self.watches.watch(id);
        let mut seen = watch.next().await.map_err(|error| away(&error))?;
        while seen.as_ref().is_some_and(|record| !record.status.is_final()) {
            let next = tokio::select! {
                next = timeout_at(deadline, watch.next()) => next,
                () = self.draining.cancelled(), if wait != Wait::ForAnswer => break,
            };
            match next {
                Ok(next) => seen = next.map_err(|error| away(&error))?,
                Err(_) => break,
            }
        }
        Ok(seen)
    }

    fn promised(&self, id: CorrelationId, record: Seen, wait: Wait) -> Result<Answer, Problem> {
        let reason = if wait == Wait::ForAnswer { "timeout" } else { "wait" };
        self.metrics.promised.with_label_values(&[reason]).inc();
        if wait == Wait::ForAnswer {
            let detail = "the request was accepted, but no reply came in time; its outcome is not known yet, and can be \
                          asked for at Location";
            return Err(Problem::new(ProblemType::ReplyTimeout, detail).at(id));
        }
        Ok(Answer::Promised {
            id,
            record: record.map(|record: Arc<_>| record),
        })
    }
}

/// What a caller is told when the broker cannot be asked.
pub(crate) fn away(error: &roundtrip::BrokerError) -> Problem {
    tracing::debug!(
        error = roundtrip::service::telemetry::with_causes(error),
        "the broker could not be asked"
    );
    if error.may_have_applied() {
        let detail = "the broker did not confirm in time; look at the request again to see what happened";
        return Problem::new(ProblemType::OutcomeUnknown, detail).retry_after(super::RETRY_AFTER);
    }
    let detail = "the broker cannot be asked at the moment; nothing was changed";
    Problem::new(ProblemType::BrokerUnavailable, detail).retry_after(super::RETRY_AFTER)
}
