//! Workers of another make: they keep the contract of docs/wire.md as far as every worker has to, and know nothing of
//! records.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaos::ledger::Ledger;
use checker::Run;
use checker::nonce::Nonce;
use redis::Value;
use redis::streams::StreamReadReply;
use serde::Deserialize;
use serde_json::json;
use testbed::redis::Client;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::redis::{GROUP, REQUESTS, settle};

/// How many it claims at a time, to do one after the other, how long each takes, and how long it waits for some.
const BATCH: &str = "8";
const WORK: Duration = Duration::from_millis(20);
const BLOCK: &str = "500";

/// After a failed call.
const PAUSE: Duration = Duration::from_millis(100);

/// A worker of another make.
#[derive(Debug)]
pub(crate) struct Foreign {
    stop: CancellationToken,
    working: TaskTracker,
}

/// Whether one of them did it: they are part of this process.
pub(crate) fn did(run: &Run) -> bool {
    run.worker == std::process::id()
}

struct Worker {
    name: String,
    redis: SocketAddr,
    ledger: Arc<Ledger>,
}

/// As much of a request as is of interest here.
#[derive(Deserialize)]
struct Question {
    city: String,
}

impl Foreign {
    /// Starts so many, which note what they do in `ledger`.
    pub(crate) fn start(count: usize, redis: SocketAddr, ledger: &Path) -> Result<Self, String> {
        let ledger = Ledger::open(ledger).map_err(|error| format!("could not open the ledger: {error}"))?;
        let (stop, working, ledger) = (CancellationToken::new(), TaskTracker::new(), Arc::new(ledger));
        for number in 0..count {
            let worker = Worker {
                name: format!("foreign-{number}"),
                redis,
                ledger: ledger.clone(),
            };
            working.spawn(worker.run(stop.clone()));
        }
        Ok(Self { stop, working })
    }

    /// Has them finish what they claimed, and leave.
    pub(crate) async fn leave(&self) {
        self.stop.cancel();
        self.working.close();
        self.working.wait().await;
    }
}

impl Worker {
    async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.turn().await.is_err() {
                sleep(PAUSE).await;
            }
        }
        if let Ok(mut client) = Client::connect(self.redis).await {
            let words = ["XGROUP", "DELCONSUMER", REQUESTS, GROUP, &self.name];
            let _ = client.run::<Value>(&words).await;
        }
    }

    /// Claims some, does them, and answers each.
    async fn turn(&self) -> Result<(), String> {
        let mut client = Client::connect(self.redis).await?;
        let mut words = vec!["XREADGROUP", "GROUP", GROUP, &self.name, "COUNT", BATCH, "BLOCK", BLOCK];
        words.extend(["STREAMS", REQUESTS, ">"]);
        loop {
            let claimed: Option<StreamReadReply> = client.run(&words).await?;
            let entries = claimed
                .into_iter()
                .flat_map(|claimed| claimed.keys)
                .flat_map(|key| key.ids);
            let mut none = true;
            for entry in entries {
                none = false;
                let text = |(name, value): (String, Value)| Some((name, redis::from_redis_value(value).ok()?));
                let fields = entry.map.into_iter().filter_map(text).collect();
                self.answer(&mut client, &entry.id, &fields).await?;
            }
            if none {
                return Ok(());
            }
        }
    }

    async fn answer(&self, client: &mut Client, id: &str, fields: &HashMap<String, String>) -> Result<(), String> {
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let question: Question = serde_json::from_str(field("data")).map_err(|error| error.to_string())?;
        if let Ok(nonce) = question.city.parse::<Nonce>() {
            self.ledger.note(nonce, 1).map_err(|error| error.to_string())?;
        }
        sleep(WORK).await;
        let request = field("requestId");
        let weather = json!({
            "city": question.city, "location": null, "requestId": request, "forecastTime": "2026-01-01T00:00:00Z",
            "temperature": 1.5, "condition": "Clear", "humidity": 50, "windSpeed": 2.5,
        });
        let replies = format!("weather-responses:{}", field("replyTo"));
        settle(client, &replies, request, &weather.to_string(), id).await
    }
}
