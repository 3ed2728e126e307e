//! The ingress-service program: configure, run, leave.

use std::process::ExitCode;

use ingress_service::config::Config;
use roundtrip::service::{command_line, shutdown, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = command_line::read();
    telemetry::init(config.log_format, &config.log_filter);
    match start(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", telemetry::with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stop = shutdown::on_signal()?;
    ingress_service::run(config, stop).await
}
