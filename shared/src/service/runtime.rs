//! A service as a process: its threads, its signals, its exit status.

use std::error::Error;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::shutdown;
use super::telemetry::with_causes;

/// The part of this machine's cores that a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of them: the service does everything itself.
    All,
    /// Half of them, at least one: Redis and the other half of the pair want the rest. Fewer threads also wake
    /// each other less often, which is a good part of what a request costs.
    Half,
}

/// Runs a service, which is told when to stop, to its end. Its error is logged, and makes the exit status 1.
pub fn run<F>(share: Share, service: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let ended = build(share).map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let stop = shutdown::on_signal()?;
            service(stop).await
        })
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// A runtime on this share of the cores, or on `TOKIO_WORKER_THREADS` threads where that is set.
///
/// # Errors
/// When the system gives no threads.
pub fn build(share: Share) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    // Where the variable is set, the runtime reads it itself.
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        builder.worker_threads(threads(share, available_parallelism().map_or(1, NonZero::get)));
    }
    builder.enable_all().build()
}

fn threads(share: Share, cores: usize) -> usize {
    match share {
        Share::All => cores,
        Share::Half => (cores / 2).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_one_core_is_one() {
        let halves = [1, 2, 3, 4, 8].map(|cores| threads(Share::Half, cores));
        assert_eq!(halves, [1, 1, 1, 2, 4]);
    }
}
