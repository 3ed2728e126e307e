//! The ingress-service program: configure, run, leave.

use std::process::ExitCode;

use ingress_service::config::Config;
use roundtrip::observe::trace;
use roundtrip::process::command_line::{self, Start};
use roundtrip::process::runtime::{self, Share};
use roundtrip::process::{healthcheck, logging};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config: Config = match command_line::read() {
        Start::Serve(config) => config,
        Start::Healthcheck(config) => return healthcheck::probe(config.listen_addr),
    };
    logging::init("ingress-service", &config.logs);
    command_line::warn_of_near_misses::<Config>();
    let _flush = match trace::start("ingress-service", &config.traces) {
        Ok(flush) => flush,
        Err(error) => {
            tracing::error!(
                error = logging::with_causes(error.as_ref()),
                "could not set up the sending of traces"
            );
            return ExitCode::FAILURE;
        }
    };
    // With workers inside, there is nobody to share the machine with.
    let share = if config.broker_url.is_memory() {
        Share::All
    } else {
        Share::Half
    };
    let process = config.process.clone();
    runtime::run(share, &process, |stop| ingress_service::run(config, stop))
}
