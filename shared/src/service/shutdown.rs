//! From a signal to a token. Whoever holds the token stops taking work, drains, and returns; nobody is
//! cut off before the grace period ends.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
