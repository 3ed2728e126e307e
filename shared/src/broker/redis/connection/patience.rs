//! Time limits for answers that hold for a process that stood still as well.

use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

/// What came while the process stood still is read within this.
pub(in crate::broker::redis) const MOMENT: Duration = Duration::from_millis(50);

/// Awaits an answer until then, and a moment longer: where a process was stopped, or had no processor, its timers run
/// out before it has read what came meanwhile. The kernel ends a wait for sockets early when a process goes on
/// (`EINTR`, <https://man7.org/linux/man-pages/man7/signal.7.html>), and then only timers are due.
pub(in crate::broker::redis) async fn answered_by<F: Future>(
    deadline: Instant,
    answer: F,
) -> Result<F::Output, Elapsed> {
    let mut answer = pin!(answer);
    match timeout_at(deadline, answer.as_mut()).await {
        Ok(answered) => Ok(answered),
        Err(_) => timeout(MOMENT, answer).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waits_to_be_read_when_time_is_over_counts() {
        let (answer, answered) = oneshot::channel();
        let waiting = tokio::spawn(answered_by(Instant::now() + PATIENCE, answered));
        tokio::task::yield_now().await;
        // The process stands still; what it reads afterwards is handed on by another task.
        advance(Duration::from_secs(60)).await;
        tokio::spawn(async move {
            sleep(Duration::from_millis(1)).await;
            let _ = answer.send(7);
        });
        assert_eq!(waiting.await.unwrap().unwrap(), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_awaited_for_longer_than_a_moment() {
        let began = Instant::now();
        let answer = answered_by(began + PATIENCE, std::future::pending::<()>());
        assert!(answer.await.is_err());
        let took = began.elapsed();
        assert!(took >= PATIENCE + MOMENT && took < PATIENCE + 2 * MOMENT, "{took:?}");
    }
}
