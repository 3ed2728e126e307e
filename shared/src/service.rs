//! A service from its command line to its exit status.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::observe::trace::{self, TraceOptions};
use crate::process::command_line::{self, Check, Start};
use crate::process::logging::{self, LogOptions};
use crate::process::runtime::{self, ProcessOptions, Share};
use crate::process::{command_line::warn_of_near_misses, healthcheck};

/// The configuration of a service.
pub trait Service: Parser + Check + 'static {
    /// Its name, in logs and traces.
    const NAME: &'static str;

    /// Where it serves, and is asked for its health.
    fn listen_addr(&self) -> SocketAddr;

    /// What it takes of its machine, what it logs, and where its traces go.
    fn options(&self) -> (&ProcessOptions, &LogOptions, &TraceOptions);

    /// The part of the machine's cores that it takes.
    fn share(&self) -> Share {
        Share::Half
    }
}

/// Configures a service, runs it until a signal ends it, and leaves.
pub fn main<C: Service, F>(run: impl FnOnce(C, CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    main_from(std::env::args_os().collect(), run)
}

/// The same, with these arguments; the first is the program's name.
pub fn main_from<C: Service, F>(arguments: Vec<OsString>, run: impl FnOnce(C, CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let config: C = match command_line::read_from(arguments) {
        Start::Serve(config) => config,
        Start::Healthcheck(config) => return healthcheck::probe(config.listen_addr()),
    };
    let (process, logs, traces) = config.options();
    logging::init(C::NAME, logs);
    warn_of_near_misses::<C>();
    let _flush = match trace::start(C::NAME, traces) {
        Ok(flush) => flush,
        Err(error) => {
            let error = logging::with_causes(error.as_ref());
            tracing::error!(error, "could not set up the sending of traces");
            return ExitCode::FAILURE;
        }
    };
    let (share, process) = (config.share(), process.clone());
    runtime::run(share, &process, |stop| run(config, stop))
}
