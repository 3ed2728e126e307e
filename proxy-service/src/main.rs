//! The proxy-service program: configure, run, leave.

use std::process::ExitCode;

use proxy_service::config::Config;
use roundtrip::service::runtime::{self, Share};
use roundtrip::service::{command_line, shutdown, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config: Config = command_line::read();
    telemetry::init(config.log_format, &config.log_filter);
    let share = Share::Half;
    let ended = runtime::build(share).map_err(Into::into);
    match ended.and_then(|runtime| runtime.block_on(start(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", telemetry::with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stop = shutdown::on_signal()?;
    proxy_service::run(config, stop).await
}
