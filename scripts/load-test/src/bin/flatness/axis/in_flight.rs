//! Requests in flight: the same rate of requests, each of which takes longer.

use std::time::{Duration, Instant};

use load_test::connection::Connection;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Figures, WARM_UP, compared, plain};
use crate::cluster::{Cluster, Programs, Service, target};
use crate::load::Load;
use crate::results::Cost;

pub(super) const POINTS: [usize; 4] = [10, 100, 1000, 10_000];
pub(super) const HEADING: &str = "requests in flight";
pub(super) const NOTE: &str = "2,000 requests/s at every point; the simulated upstream takes 5 ms to 5 s. \
    Memory is resident memory: per idle keep-alive connection that was used once; of the ingress per request in \
    flight above what the same connections take idle; of the proxy above the idle process. The target is 2 KiB for \
    both. Below 1,000 it would be noise.";
pub(super) const COSTS: [Cost; 7] = [
    compared("CPU µs/request"),
    compared("of that Redis, µs"),
    plain("requests/s"),
    plain("in flight, measured"),
    plain("idle connection, KiB"),
    plain("ingress beside connections, KiB/in flight"),
    plain("proxy, KiB/in flight"),
];

/// Requests a second: what two cores do with ease, so that CPU per request does not depend on saturation.
const RATE: f64 = 2000.0;

/// Below it, pages that are touched once outweigh what requests need.
const MIN_FOR_MEMORY: usize = 1000;

/// Files that a process has open beside the connections measured.
const OTHER_FILES: usize = 200;

/// How long all connections may take to be used once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn measure(in_flight: usize, programs: &Programs, length: Duration) -> Result<Figures, String> {
    // A quarter more: a request that takes a little longer must not wait for a connection.
    let connections = in_flight * 5 / 4 + 16;
    let needed = (connections + OTHER_FILES) as u64;
    if let Err(why) = testbed::limits::allow_open_files(needed) {
        crate::say(&format!("skipped: {why}; each connection is an open file"));
        return Ok(vec![None; COSTS.len()]);
    }
    let latency = Duration::from_secs_f64(in_flight as f64 / RATE);
    let variables = [
        ("TERMINALS", "16384".to_owned()),
        ("MAX_IN_FLIGHT", "20000".to_owned()),
        ("SIMULATED_LATENCY", format!("{}ms", latency.as_millis())),
    ];
    let cluster = Cluster::all(programs, 1, &variables).await?;
    let (ingress, proxy) = (&cluster.ingresses[0], cluster.proxy.as_ref().expect("it was started"));
    let (idle_ingress, idle_proxy) = (ingress.process.resident()?, proxy.process.resident()?);
    let connected_ingress = with_idle_connections(ingress, connections).await?;
    let connection = growth(idle_ingress, connected_ingress, connections);

    let load = Load::open(&cluster, connections, RATE);
    // Once answers come, requests start at the rate at which they end.
    load.settle(latency + WARM_UP).await;
    let pending = pending(ingress).await?;
    let of_ingress = growth(connected_ingress, ingress.process.resident()?, pending as usize);
    let of_proxy = growth(idle_proxy, proxy.process.resident()?, pending as usize);
    let window = load.watch(&cluster, length).await?;

    let memory = |kibibytes| (in_flight >= MIN_FOR_MEMORY).then_some(kibibytes);
    Ok(vec![
        Some(window.cpu()),
        Some(window.redis_cpu()),
        Some(window.rate()),
        Some(pending),
        memory(connection),
        memory(of_ingress),
        memory(of_proxy),
    ])
}

/// KiB for each of `count`.
fn growth(before: u64, after: u64, count: usize) -> f64 {
    (after as f64 - before as f64) / 1024.0 / count.max(1) as f64
}

/// Resident memory of an ingress with as many connections, each of which was used once.
async fn with_idle_connections(ingress: &Service, count: usize) -> Result<u64, String> {
    let request = target(ingress).encode("GET", "/livez", None);
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut used = JoinSet::new();
    for _ in 0..count {
        let (request, mut connection) = (request.clone(), Connection::new(ingress.address));
        used.spawn(async move {
            let answered = connection.ask(&request, deadline).await.map(|_| ());
            answered.map(|()| connection)
        });
    }
    let connections: Result<Vec<_>, _> = used.join_all().await.into_iter().collect();
    let connections = connections.map_err(|failure| format!("could not open {count} connections: {failure}"))?;
    let resident = ingress.process.resident()?;
    drop(connections);
    // For the ingress to see that they have gone.
    sleep(Duration::from_millis(300)).await;
    Ok(resident)
}

/// The requests that wait for their reply, as the ingress counts them.
async fn pending(ingress: &Service) -> Result<f64, String> {
    let request = target(ingress).encode("GET", "/metrics", None);
    let mut connection = Connection::new(ingress.address);
    let answer = connection.ask(&request, Instant::now() + CONNECT_TIMEOUT).await;
    let answer = answer.map_err(|failure| format!("could not read the metrics of the ingress: {failure}"))?;
    let pending = testbed::metrics::value(&String::from_utf8_lossy(answer.body), "ingress_pending_requests");
    pending.ok_or_else(|| "the metrics have no pending requests".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_in_kibibytes_for_each() {
        assert_eq!(growth(1024, 1024 + 8192, 4), 2.0);
    }
}
