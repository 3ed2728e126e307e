//! From a signal to a token. Whoever holds the token stops taking work, drains, and returns; nobody is
//! cut off before the grace period ends.

use std::error::Error;
use std::fmt;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::process::task;

/// Starts a loop that the process cannot do without. `ended` is cancelled when it ends, for whatever reason,
/// a panic included: a process that only looks alive is worse than one that is started again.
pub fn spawn_essential(ended: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let guard = ended.clone().drop_guard();
    task::spawn(async move {
        let _guard = guard;
        work.await;
    })
}

/// An essential loop ended before it was asked to.
#[derive(Debug)]
pub struct LoopEnded;

impl fmt::Display for LoopEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a loop this service needs has ended; leaving, to be started again")
    }
}

impl Error for LoopEnded {}

/// A token that is cancelled by SIGTERM or Ctrl-C. A second signal ends the process at once.
///
/// # Errors
/// When the process may not install signal handlers.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    // Lives as long as the process, by design: it is what ends it.
    tokio::spawn(async move {
        for again in [false, true] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if again {
                tracing::warn!(signal = name, "second signal, leaving at once");
                // 128 + SIGINT: what a shell expects of a program that a signal ended.
                std::process::exit(130);
            }
            tracing::info!(signal = name, "stopping: draining what is in flight");
            cancel.cancel();
        }
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_noticed() {
        let ended = CancellationToken::new();
        let task = spawn_essential(&ended, async { panic!("a mistake") });
        ended.cancelled().await;
        assert!(task.await.is_err());
    }
}
