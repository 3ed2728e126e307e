//! The real worker around a handler that notes each run in the ledger, and misbehaves where the request says so.
//! Everything but the handler is the product's own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chaos::ledger::{self, Ledger};
use checker::nonce::{Nonce, Temper};
use proxy_service::config::Config;
use proxy_service::failure::Failure;
use proxy_service::handler::{BoxHandler, Handler, Job};
use proxy_service::operations::weather::work::Weather;
use proxy_service::operations::{Operations, Policy, erased};
use roundtrip::OperationName;
use roundtrip::process::command_line::{self, Start};
use roundtrip::process::logging;
use roundtrip::process::runtime::{self, Share};
use serde::Deserialize;
use tokio::time::sleep;

/// How long slow work takes, unless a scenario says: more than two leases, where it has short ones, and less than
/// ATTEMPT_TIMEOUT.
const SLOW: Duration = Duration::from_secs(9);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (Start::Serve(config) | Start::Healthcheck(config)) = command_line::read::<Config>();
    logging::init("chaos-worker", &config.logs);
    let process = config.process.clone();
    runtime::run(Share::Half, &process, |stop| async {
        let path = std::env::var_os(ledger::VARIABLE).map(PathBuf::from);
        let path = path.ok_or_else(|| format!("{} names no file", ledger::VARIABLE))?;
        let handler = Noting {
            weather: erased(Weather::new(config.weather.provider()?)),
            ledger: Ledger::open(&path)?,
            slow: slow()?,
        };
        let operations = Operations::new().with_handler(OperationName::first(), handler, Policy::default());
        proxy_service::run_with(operations, config, stop).await
    })
}

/// Notes each run, then does what the request's name says.
struct Noting {
    weather: BoxHandler,
    ledger: Ledger,
    slow: Duration,
}

/// How long slow work takes.
fn slow() -> Result<Duration, String> {
    match std::env::var(chaos::SLOW) {
        Ok(text) => humantime::parse_duration(&text).map_err(|error| format!("{}: {error}", chaos::SLOW)),
        Err(_) => Ok(SLOW),
    }
}

/// As much of a request as is of interest here.
#[derive(Deserialize)]
struct Question {
    city: String,
}

#[async_trait]
impl Handler for Noting {
    async fn handle(&self, job: Job) -> Result<Bytes, Failure> {
        let question: Option<Question> = serde_json::from_slice(&job.request.data).ok();
        let nonce: Option<Nonce> = question.and_then(|question| question.city.parse().ok());
        let Some(nonce) = nonce else {
            return self.weather.handle(job).await;
        };
        if let Err(error) = self.ledger.note(nonce, job.delivery) {
            // A run that nobody knows of would make every finding worthless.
            tracing::error!(%error, "could not write to the ledger");
            std::process::abort();
        }
        match nonce.temper {
            Temper::Good => self.weather.handle(job).await,
            Temper::Slow => {
                sleep(self.slow).await;
                self.weather.handle(job).await
            }
            Temper::Panics => panic!("a poisonous request, on purpose"),
            Temper::Aborts => std::process::abort(),
        }
    }
}
