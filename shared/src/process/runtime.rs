//! A service as a process: its threads, its signals, its exit status.

use std::error::Error;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::process::logging::with_causes;
use crate::process::shutdown;
use crate::process::value_parsers;

/// The part of this machine's cores that a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of them: the service does everything itself.
    All,
    /// Half of them, at least one: Redis and the other half of the pair want the rest. Fewer threads also wake
    /// each other less often, which is a good part of what a request costs.
    Half,
}

/// What a process takes of its machine.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ProcessOptions {
    /// Threads, 1 to 1024 [default: half of the cores, all with memory://]
    #[arg(long, env, value_parser = value_parsers::whole(1..=1024_usize))]
    pub tokio_worker_threads: Option<usize>,
}

/// Runs a service, which is told when to stop, to its end. Its error is logged, and makes the exit status 1.
pub fn run<F>(share: Share, options: &ProcessOptions, service: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let threads = options.tokio_worker_threads;
    let ended = build(share, threads).map_err(Into::into).and_then(|runtime| {
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

/// A runtime on this share of the cores, or on so many threads.
///
/// # Errors
/// When the system gives no threads.
pub fn build(share: Share, threads: Option<usize>) -> std::io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let threads = threads.unwrap_or_else(|| of(share, cores));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

fn of(share: Share, cores: usize) -> usize {
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
        let halves = [1, 2, 3, 4, 8].map(|cores| of(Share::Half, cores));
        assert_eq!(halves, [1, 1, 1, 2, 4]);
    }
}
