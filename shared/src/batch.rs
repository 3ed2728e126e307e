//! Many callers, few calls: items queue up while a call is under way, and whatever piled up goes together.
//! There is no timer: a lone item is taken at once. A batch is bounded in items and in bytes, so that one call
//! fits in the time one call has, whatever callers send.

use tokio::sync::mpsc;

/// The sending end: one item at a time, from many tasks. It waits while the queue is full.
pub type Batcher<T> = mpsc::Sender<T>;

/// The receiving end: everything that piled up, from one task.
#[derive(Debug)]
pub struct Batches<T> {
    queue: mpsc::Receiver<T>,
    /// Taken from the queue, and more than the last batch had room for.
    rest: Vec<T>,
    max: usize,
}

/// The most bytes of one batch; a lone item may weigh more. A link of 32 Mbit/s takes so much in a quarter of a
/// second, and a thousand plain requests weigh less.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Something that takes room in a call.
pub trait Weigh {
    /// How many bytes it takes on its way, about.
    fn weight(&self) -> usize;
}

/// A queue of at most `capacity` items, taken in batches of at most `max` items and [`MAX_BYTES`].
///
/// # Panics
/// When `capacity` is 0.
#[must_use]
pub fn channel<T>(capacity: usize, max: usize) -> (Batcher<T>, Batches<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let batches = Batches {
        queue: receiver,
        rest: Vec::new(),
        max,
    };
    (sender, batches)
}

impl<T: Weigh> Batches<T> {
    /// Replaces the content of `batch` by all that is queued, at most the maximum of items and bytes; waits for
    /// the first item. Returns `false` once every sender is gone and the queue is empty.
    pub async fn next(&mut self, batch: &mut Vec<T>) -> bool {
        batch.clear();
        batch.append(&mut self.rest);
        if batch.is_empty() && self.queue.recv_many(batch, self.max).await == 0 {
            return false;
        }
        self.rest = batch.split_off(fitting(batch));
        true
    }
}

/// How many of these items one call takes, from the first on: at least one, and no more than [`MAX_BYTES`].
fn fitting<T: Weigh>(items: &[T]) -> usize {
    let mut weight = 0;
    let too_many = items.iter().position(|item| {
        weight += item.weight();
        weight > MAX_BYTES
    });
    too_many.map_or(items.len(), |at| at.max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Items that weigh next to nothing.
    impl Weigh for u8 {
        fn weight(&self) -> usize {
            1
        }
    }

    /// Items that weigh what they say.
    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[tokio::test]
    async fn a_batch_has_no_more_bytes_than_one_call_takes_in_time() {
        let (batcher, mut batches) = channel(16, 8);
        let (third, heavy) = (MAX_BYTES / 3, MAX_BYTES * 20);
        for weight in [third, third, third, third, heavy, 1, heavy, heavy, 2, 3] {
            batcher.send(weight).await.unwrap();
        }
        drop(batcher);
        let (mut batch, mut all) = (Vec::new(), Vec::new());
        while batches.next(&mut batch).await {
            all.push(batch.clone());
        }
        let alone = |weight| vec![weight];
        let expected = [
            vec![third; 3],
            alone(third),
            alone(heavy),
            alone(1),
            alone(heavy),
            alone(heavy),
            vec![2, 3],
        ];
        assert_eq!(all, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_item_is_not_held_back() {
        let (batcher, mut batches) = channel(8, 8);
        let started = tokio::time::Instant::now();
        batcher.send(1_u8).await.unwrap();
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert_eq!((batch, started.elapsed().as_nanos()), (vec![1], 0));
    }

    #[tokio::test]
    async fn what_piled_up_goes_together_in_order_up_to_the_maximum() {
        let (batcher, mut batches) = channel(8, 3);
        for item in 0..5_u8 {
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
        batcher.send(9_u8).await.unwrap();
        drop(batcher);
        let mut batch = Vec::new();
        assert!(batches.next(&mut batch).await);
        assert_eq!(batch, [9]);
        assert!(!batches.next(&mut batch).await);
    }
}
