//! Ingress replicas, with the same number of connections in sum.

use std::time::Duration;

use super::{CONNECTIONS, Figures, WARM_UP, compared, plain};
use crate::cluster::{Cluster, Programs};
use crate::load::Load;
use crate::results::Cost;

pub(super) const POINTS: [usize; 4] = [1, 2, 4, 8];
pub(super) const HEADING: &str = "ingress replicas";
pub(super) const NOTE: &str =
    "64 connections in a closed loop, spread over the replicas; one proxy. CPU is that of all processes.";
pub(super) const COSTS: [Cost; 3] = [
    compared("CPU µs/request"),
    compared("of that Redis, µs"),
    plain("requests/s"),
];

pub(super) async fn measure(replicas: usize, programs: &Programs, length: Duration) -> Result<Figures, String> {
    let cluster = Cluster::all(programs, replicas, &[]).await?;
    let load = Load::closed(&cluster, CONNECTIONS);
    load.settle(WARM_UP).await;
    let window = load.watch(&cluster, length).await?;
    Ok(vec![Some(window.cpu()), Some(window.redis_cpu()), Some(window.rate())])
}
