//! What is left when all callers have gone, as Redis, the kernel and the services themselves tell.

use std::time::{Duration, Instant};

use load_test::connection::Connection;
use load_test::target::Target;

use crate::cluster::{Cluster, Member};
use crate::history::{Growth, Remains, Usage};
use crate::keyspace::{self, Guests};
use crate::redis;

/// A worker gives a sign of life about every five seconds. A consumer silent for this long is nobody.
const STALE: Duration = Duration::from_secs(8);

const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

/// What is left now. `requesters` of our own have a reply stream too.
pub(crate) async fn look(cluster: &Cluster, requesters: usize, guests: &Guests) -> Result<Remains, String> {
    let mut client = cluster.redis.client().await?;
    let surplus = keyspace::surplus(&mut client, guests).await?;
    let contents = redis::contents(&mut client).await?;
    let live = |members: &[Option<Member>]| members.iter().flatten().count();
    Ok(Remains {
        requests: contents.requests,
        pending: contents.pending,
        consumers: contents.consumers.len(),
        stale_consumers: contents.consumers.iter().filter(|(_, idle)| *idle >= STALE).count(),
        live_workers: live(&cluster.workers),
        reply_streams: contents.reply_streams.len().saturating_sub(requesters),
        requesters: contents.requesters.saturating_sub(requesters),
        live_ingresses: live(&cluster.ingresses),
        surplus,
        growth: cluster.members().filter_map(growth).collect(),
        ..Remains::default()
    })
}

fn growth(member: &Member) -> Option<Growth> {
    Some(Growth {
        process: member.process.name.clone(),
        before: member.before?,
        after: Usage::of(&member.process)?,
    })
}

/// A counter of every ingress that is there.
pub(crate) async fn counters(cluster: &Cluster, name: &str) -> Result<Vec<(u32, u64)>, String> {
    let mut counters = Vec::new();
    for member in cluster.ingresses.iter().flatten() {
        let text = metrics(member).await.map_err(|error| member.process.quoted(&error))?;
        counters.push((member.instance, value(&text, name)));
    }
    Ok(counters)
}

/// Counters, summed over all services that are there. One that nobody has is 0.
pub(crate) async fn totals(cluster: &Cluster, names: &[&'static str]) -> Result<Vec<(&'static str, u64)>, String> {
    let mut totals: Vec<_> = names.iter().map(|name| (*name, 0)).collect();
    for member in cluster.members().filter(|_| !names.is_empty()) {
        let text = metrics(member).await.map_err(|error| member.process.quoted(&error))?;
        for (name, total) in &mut totals {
            *total += value(&text, name);
        }
    }
    Ok(totals)
}

fn value(text: &str, name: &str) -> u64 {
    testbed::metrics::value(text, name).unwrap_or(0.0) as u64
}

async fn metrics(member: &Member) -> Result<String, String> {
    let target: Target = format!("http://{}", member.address)
        .parse()
        .map_err(|error| format!("{error}"))?;
    let request = target.encode("GET", "/metrics", None);
    let mut connection = Connection::new(member.address);
    let asked = connection.ask(&request, Instant::now() + METRICS_TIMEOUT).await;
    let response = asked.map_err(|failure| format!("could not read its metrics: {failure}"))?;
    Ok(String::from_utf8_lossy(response.body).into_owned())
}
