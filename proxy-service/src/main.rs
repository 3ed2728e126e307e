//! The proxy-service program: configure, run, leave.

use std::process::ExitCode;

use proxy_service::config::Config;
use roundtrip::service::command_line::{self, Start};
use roundtrip::service::runtime::{self, Share};
use roundtrip::service::{healthcheck, telemetry, traces};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config: Config = match command_line::read() {
        Start::Serve(config) => config,
        Start::Healthcheck(config) => return healthcheck::probe(config.listen_addr),
    };
    telemetry::init(config.log_format, &config.log_filter);
    let _flush = match traces::start("proxy-service", &config.traces) {
        Ok(flush) => flush,
        Err(error) => {
            tracing::error!(
                error = telemetry::with_causes(error.as_ref()),
                "could not set up the sending of traces"
            );
            return ExitCode::FAILURE;
        }
    };
    runtime::run(Share::Half, |stop| proxy_service::run(config, stop))
}
