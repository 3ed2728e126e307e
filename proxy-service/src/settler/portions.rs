//! Settling a batch. What does not go through at once is split, so that nothing is sent the same way for ever.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::batch::{self, Weigh};
use roundtrip::broker::{BrokerErrorKind, Settlement};
use roundtrip::observe::outage::broker_failed;
use roundtrip::resilience::backoff::Backoff;
use roundtrip::{Broker, BrokerError, Fault, FaultCode};
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// How often a heavy settlement is sent alone, to a broker that is there, before what makes it heavy is left out.
const TRIES: u32 = 3;

/// What is left out of a dead letter then: fields beyond so many bytes.
const MAX_LETTER_FIELD: usize = 64 * 1024;

/// Where settlements go.
#[async_trait]
pub(super) trait Takes: Sync {
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError>;
    async fn is_there(&self) -> bool;
}

#[async_trait]
impl<B: Broker + ?Sized> Takes for Arc<B> {
    async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
        self.as_ref().settle(settlements).await
    }

    async fn is_there(&self) -> bool {
        self.ping().await.is_ok()
    }
}

/// Why a batch was not settled to its end.
#[derive(Debug)]
pub(super) struct Stopped {
    /// How many are settled, from the first on. They are not to be sent again.
    pub(super) settled: usize,
    pub(super) error: BrokerError,
}

/// Settles all, in order; in halves, quarters and so on where the broker did not confirm what was sent at once. An
/// error that will not pass, or any after `give_up`, is the end.
pub(super) async fn settle(to: &impl Takes, batch: &[Settlement], give_up: &CancellationToken) -> Result<(), Stopped> {
    let (mut settled, mut portion) = (0, batch.len());
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    let mut unconfirmed = 0;
    while settled < batch.len() {
        let now = &batch[settled..batch.len().min(settled + portion)];
        let sent = match unconfirmed >= TRIES && is_heavy(now) {
            true => to.settle(&too_large(now)).await,
            false => to.settle(now).await,
        };
        let Err(error) = sent else {
            (settled, unconfirmed) = (settled + now.len(), 0);
            continue;
        };
        if matches!(error.kind(), BrokerErrorKind::Rejected | BrokerErrorKind::GroupLost) || give_up.is_cancelled() {
            return Err(Stopped { settled, error });
        }
        if error.may_have_applied() {
            portion = now.len().div_ceil(2);
            // A broker that answers a ping is there: it is this one that does not come through.
            unconfirmed += u32::from(is_heavy(now) && to.is_there().await);
        }
        broker_failed(&error, "settling again");
        pauses.pause(give_up).await;
    }
    Ok(())
}

/// Whether this is one that was sent alone because of its weight.
fn is_heavy(settlements: &[Settlement]) -> bool {
    matches!(settlements, [one] if one.weight() > batch::MAX_BYTES)
}

/// The same ends, without what made them heavy: their requesters are told so.
fn too_large(settlements: &[Settlement]) -> Vec<Settlement> {
    tracing::error!("a result does not come through to the broker; its requester is told that it is too large");
    let light = |settlement: &Settlement| {
        let mut light = settlement.clone();
        if let Some((_, reply)) = &mut light.reply {
            let detail = "the result is too large for the way to the broker";
            reply.outcome = Err(Fault::new(FaultCode::ResultTooLarge, detail));
        }
        if let Some(letter) = &mut light.dead_letter {
            letter.fields.retain(|(_, value)| value.len() <= MAX_LETTER_FIELD);
        }
        light
    };
    settlements.iter().map(light).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use roundtrip::broker::{Consumer, EntryId, Position, Receipt};
    use roundtrip::{CorrelationId, OperationName, Origin, Reply, ReplyTo};
    use tokio::time::Instant;

    use super::*;

    /// A broker on a link that carries no more than so many bytes in the time of one call.
    struct SlowLink {
        carries: usize,
        settled: Mutex<Vec<Settlement>>,
        calls: Mutex<usize>,
    }

    #[async_trait]
    impl Takes for SlowLink {
        async fn settle(&self, settlements: &[Settlement]) -> Result<(), BrokerError> {
            *self.calls.lock().unwrap() += 1;
            if settlements.iter().map(Weigh::weight).sum::<usize>() > self.carries {
                return Err(BrokerError::new(BrokerErrorKind::Unconfirmed, "settle", "too slow"));
            }
            self.settled.lock().unwrap().extend(settlements.iter().cloned());
            Ok(())
        }

        async fn is_there(&self) -> bool {
            true
        }
    }

    fn settlement(bytes: usize) -> Settlement {
        let receipt = Receipt {
            entry: EntryId::of(OperationName::first(), Position::default()),
            consumer: Consumer::unique("w"),
            claimed: Instant::now(),
        };
        let reply = Reply::new(CorrelationId::new(), Origin::default(), Ok(vec![b'7'; bytes].into()));
        Settlement::reply(receipt, ReplyTo::unique("r"), reply)
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_go_through_at_once_goes_in_parts_and_nothing_is_sent_for_ever() {
        let link = SlowLink {
            carries: 300_000,
            settled: Mutex::default(),
            calls: Mutex::default(),
        };
        let heavy = 3 * batch::MAX_BYTES;
        let sizes = [100_000, 100_000, 100_000, 100_000, heavy, 100_000];
        let batch: Vec<_> = sizes.map(settlement).into();
        let give_up = CancellationToken::new();
        let settling = settle(&link, &batch, &give_up);
        let ended = tokio::time::timeout(Duration::from_secs(600), settling).await;
        ended.expect("it comes to an end").unwrap();
        assert!(*link.calls.lock().unwrap() < 20, "{:?} calls", link.calls);
        let settled = link.settled.lock().unwrap();
        let outcome = |settlement: &Settlement| settlement.reply.clone().unwrap().1;
        assert_eq!(settled.len(), batch.len());
        for ((sent, got), bytes) in batch.iter().zip(settled.iter()).zip(sizes) {
            let (sent, got) = (outcome(sent), outcome(got));
            assert_eq!(sent.id, got.id);
            match got.outcome {
                Ok(data) => assert_eq!(data.len(), bytes),
                Err(fault) => assert_eq!((fault.code, bytes), (FaultCode::ResultTooLarge, heavy)),
            }
        }
    }
}
