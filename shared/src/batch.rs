//! Many callers, few calls: items queue up while a call is under way, and whatever piled up goes together.
//! There is no timer: a lone item is taken at once.

use tokio::sync::mpsc;

/// The sending end: one item at a time, from many tasks.
#[derive(Debug)]
pub struct Batcher<T> {
    queue: mpsc::Sender<T>,
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// The receiving end: everything that piled up, from one task.
#[derive(Debug)]
pub struct Batches<T> {
    queue: mpsc::Receiver<T>,
    max: usize,
}

/// The item came too late: nobody takes batches any more. Holds the item.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// A queue of at most `capacity` items, taken in batches of at most `max`.
///
/// # Panics
/// When `capacity` is 0.
#[must_use]
pub fn channel<T>(capacity: usize, max: usize) -> (Batcher<T>, Batches<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Batcher { queue: sender }, Batches { queue: receiver, max })
}

impl<T> Batcher<T> {
    /// Queues one item; waits while the queue is full.
    ///
    /// # Errors
    /// Gives the item back when the receiving end is gone.
    pub async fn send(&self, item: T) -> Result<(), Closed<T>> {
        self.queue.send(item).await.map_err(|error| Closed(error.0))
    }
}

impl<T> Batches<T> {
    /// Replaces the content of `batch` by all that is queued, at most the maximum; waits for the first
    /// item. Returns `false` once every sender is gone and the queue is empty.
    pub async fn next(&mut self, batch: &mut Vec<T>) -> bool {
        batch.clear();
        self.queue.recv_many(batch, self.max).await > 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lone_item_is_not_held_back() {
        let (batcher, mut batches) = channel(8, 8);
        let started = tokio::time::Instant::now();
        batcher.send(1).await.unwrap();
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert_eq!((batch, started.elapsed().as_nanos()), (vec![1], 0));
    }

    #[tokio::test]
    async fn what_piled_up_goes_together_in_order_up_to_the_maximum() {
        let (batcher, mut batches) = channel(8, 3);
        for item in 0..5 {
            batcher.send(item).await.unwrap();
        }
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert_eq!(batch, [0, 1, 2]);
        assert!(batches.next(&mut batch).await);
        assert_eq!(batch, [3, 4]);
    }

    #[tokio::test]
    async fn what_was_queued_is_still_taken_after_the_last_sender_left() {
        let (batcher, mut batches) = channel(8, 8);
        batcher.send("last").await.unwrap();
        drop(batcher);
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert_eq!(batch, ["last"]);
        assert!(!batches.next(&mut batch).await);
    }

    #[tokio::test]
    async fn an_item_for_nobody_comes_back() {
        let (batcher, batches) = channel(1, 1);
        drop(batches);
        assert_eq!(batcher.send(7).await, Err(Closed(7)));
    }
}
