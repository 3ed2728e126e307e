//! Who watches records. One subscription serves all watchers of this instance: it wakes up, and the record is read once
//! for all who watch it. What was missed does not matter: they are told how things are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use roundtrip::broker::{Change, Record, ResultStore};
use roundtrip::process::listener::Listener;
use roundtrip::{BrokerError, CorrelationId};
use tokio::sync::watch;

/// How often everything watched is read, whatever was heard.
pub(crate) const FALLBACK: Duration = Duration::from_secs(10);

/// Records read at once; bounds the memory of one answer.
const MAX_READ: usize = 64;

/// A record as it was last seen; `None` inside where there is none.
pub(crate) type Seen = Option<Arc<Record>>;

/// The records that somebody watches.
#[derive(Debug)]
pub(crate) struct Watches {
    records: Arc<dyn ResultStore>,
    watched: Mutex<HashMap<CorrelationId, Watched>>,
}

/// A record that is watched. The watchers are counted under the map's lock: a receiver that is being dropped still
/// counts as one, and of two that leave at the same time neither would be the last.
#[derive(Debug)]
struct Watched {
    sender: watch::Sender<Option<Seen>>,
    watchers: usize,
}

/// One who watches one record.
#[derive(Debug)]
pub(crate) struct Watch {
    id: CorrelationId,
    receiver: watch::Receiver<Option<Seen>>,
    watches: Arc<Watches>,
    /// Whether something was seen yet.
    began: bool,
}

impl Watches {
    pub(crate) fn new(records: Arc<dyn ResultStore>) -> Arc<Self> {
        Arc::new(Self {
            records,
            watched: Mutex::default(),
        })
    }

    /// Begins to watch a record.
    pub(crate) fn watch(self: &Arc<Self>, id: CorrelationId) -> Watch {
        let mut all = self.watched();
        let watched = all.entry(id).or_insert_with(|| Watched {
            sender: watch::Sender::new(None),
            watchers: 0,
        });
        watched.watchers += 1;
        Watch {
            id,
            receiver: watched.sender.subscribe(),
            watches: self.clone(),
            began: false,
        }
    }

    /// Reads a record.
    pub(crate) async fn read(&self, id: CorrelationId) -> Result<Seen, BrokerError> {
        let read = self.records.records(&[id]).await?;
        Ok(read.into_iter().next().flatten().map(Arc::new))
    }

    /// Reads records again and tells those who watch them.
    async fn refresh(&self, ids: &[CorrelationId]) -> Result<(), BrokerError> {
        for some in ids.chunks(MAX_READ) {
            let read = self.records.records(some).await?;
            let watched = self.watched();
            for (id, record) in some.iter().zip(read) {
                if let Some(watched) = watched.get(id) {
                    watched.sender.send_replace(Some(record.map(Arc::new)));
                }
            }
        }
        Ok(())
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<CorrelationId, Watched>> {
        self.watched.lock().expect("no code panics while it holds the map")
    }
}

#[async_trait]
impl Listener for Watches {
    async fn hear(&self, heard: &[Change]) -> Result<(), BrokerError> {
        if heard.contains(&Change::Missed) {
            let all: Vec<_> = self.watched().keys().copied().collect();
            return self.refresh(&all).await;
        }
        let mut ids: Vec<_> = {
            let watched = self.watched();
            let changed = heard.iter().filter_map(|change| match change {
                Change::Record(id) => Some(*id),
                _ => None,
            });
            changed.filter(|id| watched.contains_key(id)).collect()
        };
        ids.sort_unstable();
        ids.dedup();
        self.refresh(&ids).await
    }
}

impl Watch {
    /// The record as it is: at first at once, later when it has changed.
    pub(crate) async fn next(&mut self) -> Result<Seen, BrokerError> {
        if !std::mem::replace(&mut self.began, true) {
            // Enlisted before it reads: what changes in between is not missed.
            return self.watches.read(self.id).await;
        }
        let changed = self.receiver.changed().await;
        changed.expect("the sender stays while somebody watches");
        let seen = self.receiver.borrow_and_update().clone();
        Ok(seen.flatten())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watches.watched();
        let watched = all.get_mut(&self.id).expect("the entry stays while somebody watches");
        watched.watchers -= 1;
        if watched.watchers == 0 {
            all.remove(&self.id);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use roundtrip::broker::memory::MemoryBroker;
    use roundtrip::broker::{Acceptance, Status};
    use roundtrip::process::listener;
    use roundtrip::{Budget, Keep, Origin, Reply, ReplyTo, Request};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_watcher_sees_the_last_of_what_happened_and_leaves_nothing() {
        let broker = Arc::new(MemoryBroker::new());
        let watches = Watches::new(broker.clone());
        let stop = CancellationToken::new();
        let listening = tokio::spawn(listener::listen(
            broker.clone(),
            watches.clone(),
            FALLBACK,
            stop.clone(),
        ));
        let request = Request {
            id: CorrelationId::new(),
            origin: Origin::default(),
            reply_to: ReplyTo::unique("test"),
            budget: Budget::new(Duration::from_secs(30)),
            traceparent: None,
            keep: Keep::Only,
            data: "{}".into(),
        };
        let id = request.id;
        let mut many: Vec<_> = (0..100).map(|_| watches.watch(id)).collect();
        assert_eq!(many[0].next().await.unwrap(), None);
        broker.submit(&[Acceptance { request, key: None }]).await.unwrap();
        let done = Reply::new(id, Origin::default(), Ok("{}".into()));
        broker.complete(&[done]).await.unwrap();
        for watch in &mut many {
            let ended = async {
                while watch
                    .next()
                    .await
                    .unwrap()
                    .is_none_or(|record| record.status != Status::Succeeded)
                {}
            };
            tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap();
        }
        drop(many);
        assert!(watches.watched().is_empty());
        stop.cancel();
        listening.await.unwrap();
    }

    #[test]
    fn who_has_left_does_not_count_though_its_receiver_still_lives() {
        let (watches, id) = (Watches::new(Arc::new(MemoryBroker::new())), CorrelationId::new());
        let (one, other) = (watches.watch(id), watches.watch(id));
        let half_dropped = one.receiver.clone();
        drop(one);
        assert_eq!(watches.watched().len(), 1, "the other watches");
        drop(other);
        assert_eq!(watches.watched().len(), 0);
        drop(half_dropped);
    }
}
