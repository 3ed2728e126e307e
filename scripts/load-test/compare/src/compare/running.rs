//! A peer that runs: broker, worker and front, ready to answer.

use std::path::Path;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use testbed::{Process, free_address};
use tokio::time::{Instant, sleep, timeout};

use crate::BoxError;
use crate::lineup::Peer;
use crate::process;
use crate::programs::Programs;
use crate::servers::{self, Broker};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer's processes. They end with this value, the front first.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    /// Where the front is.
    pub(crate) url: String,
    front: Process,
    worker: Option<Process>,
    broker: Option<Broker>,
    _directory: TempDir,
}

/// Something about each of a peer's parts; `None` for a part it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Parts {
    pub(crate) front: f64,
    pub(crate) worker: Option<f64>,
    pub(crate) broker: Option<f64>,
}

impl Parts {
    pub(crate) fn sum(&self) -> f64 {
        self.front + self.worker.unwrap_or_default() + self.broker.unwrap_or_default()
    }

    /// Each part with its like in `other`.
    pub(crate) fn zip(&self, other: &Self, with: impl Fn(f64, f64) -> f64) -> Self {
        let both = |a: Option<f64>, b: Option<f64>| Some(with(a?, b?));
        Self {
            front: with(self.front, other.front),
            worker: both(self.worker, other.worker),
            broker: both(self.broker, other.broker),
        }
    }
}

impl Running {
    /// Starts `peer` in a directory inside `scratch` and waits until it answers as it should.
    pub(crate) async fn start(peer: Peer, programs: &Programs, scratch: &Path) -> Result<Self, BoxError> {
        let directory = tempfile::Builder::new().prefix(peer.name()).tempdir_in(scratch)?;
        let broker = servers::start(peer, programs, directory.path()).await?;
        let listen = free_address().to_string();
        let start = match peer.is_roundtrip() {
            true => start_roundtrip,
            false => start_peer,
        };
        let broker_url = broker.as_ref().map(|broker| broker.url.as_str());
        let (front, worker) = start(peer, programs, directory.path(), broker_url, &listen)?;
        let mut running = Self {
            peer,
            url: format!("http://{listen}"),
            front,
            worker,
            broker,
            _directory: directory,
        };
        running.ready().await?;
        Ok(running)
    }

    /// The broker's version; `None` without one.
    pub(crate) fn broker_version(&self) -> Option<&str> {
        self.broker.as_ref().map(|broker| broker.version.as_str())
    }

    /// CPU time so far, in s.
    pub(crate) fn cpu_seconds(&self) -> Parts {
        let seconds = |process: &Process| process.cpu_of_tree().as_secs_f64();
        Parts {
            front: seconds(&self.front),
            worker: self.worker.as_ref().map(seconds),
            broker: self
                .broker
                .as_ref()
                .map(|broker| broker.processes.iter().map(seconds).sum()),
        }
    }

    /// Fails when one of its processes has ended.
    pub(crate) fn check(&mut self) -> Result<(), BoxError> {
        let broker = self.broker.iter_mut().flat_map(|broker| &mut broker.processes);
        let mut processes = broker.chain(&mut self.worker).chain([&mut self.front]);
        Ok(processes.try_for_each(Process::check)?)
    }

    async fn ready(&mut self) -> Result<(), BoxError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            self.check()?;
            let answer = timeout(ANSWER_TIMEOUT, ask(&self.url, "Oslo")).await;
            match answer.map_err(BoxError::from).flatten() {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!("no right answer within {READY_TIMEOUT:?}: {error}").into());
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

fn start_peer(
    peer: Peer,
    programs: &Programs,
    directory: &Path,
    broker_url: Option<&str>,
    listen: &str,
) -> Result<(Process, Option<Process>), BoxError> {
    let server = match broker_url {
        Some(url) => url.to_owned(),
        None => free_address().to_string(),
    };
    let side = |role: &'static str, listen: &[&str]| {
        let arguments = [&[role, "--peer", peer.name(), "--server", &server], listen].concat();
        process::start(role, &programs.peer, arguments, &[], directory)
    };
    let worker = side("worker", &[])?;
    Ok((side("front", &["--listen", listen])?, Some(worker)))
}

fn start_roundtrip(
    _: Peer,
    programs: &Programs,
    directory: &Path,
    broker_url: Option<&str>,
    listen: &str,
) -> Result<(Process, Option<Process>), BoxError> {
    let service = |name, program, listen: &str| {
        let variables = [
            ("BROKER_URL", broker_url.unwrap_or("memory://").to_owned()),
            ("LISTEN_ADDR", listen.to_owned()),
            // All but this and the addresses is as shipped; more connections than it admits would measure refusals.
            ("MAX_IN_FLIGHT", "16384".to_owned()),
        ];
        process::start(name, program, [""; 0], &variables, directory)
    };
    let worker = match broker_url {
        Some(_) => {
            let admin = free_address().to_string();
            Some(service("proxy-service", &programs.proxy_service, &admin)?)
        }
        None => None,
    };
    Ok((service("ingress-service", &programs.ingress_service, listen)?, worker))
}

/// Asks for a city; fails unless the answer is the weather there, with all its eight fields.
async fn ask(url: &str, city: &str) -> Result<(), BoxError> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let question = serde_json::json!({ "city": city }).to_string();
    let request = axum::http::Request::post(format!("{url}/WeatherForecast/city"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(question)))?;
    let response = client.request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    let weather: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let complete = weather.as_object().is_some_and(|fields| fields.len() == 8);
    match status.is_success() && complete && weather["city"] == city {
        true => Ok(()),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into()),
    }
}
