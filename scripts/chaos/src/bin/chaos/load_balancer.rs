//! What stands in front of the ingresses: a load balancer that sends requests to those that say they are ready, and
//! tries another one only when a connection was refused, since then nothing was sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use checker::nonce::Nonce;
use load_test::connection::Connection;
use load_test::target::Target;
use tokio::time::sleep;

/// How often each ingress is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where requests can go.
#[derive(Debug)]
pub(crate) struct LoadBalancer {
    pub(crate) doors: Vec<Door>,
}

/// The address of one ingress, whichever process serves there at the moment.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) target: Target,
    ready: AtomicBool,
    instance: AtomicU32,
}

impl LoadBalancer {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Result<Arc<Self>, String> {
        let door = |address: &SocketAddr| {
            Ok(Door {
                address: *address,
                target: format!("http://{address}")
                    .parse()
                    .map_err(|error| format!("could not address {address}: {error}"))?,
                ready: AtomicBool::new(true),
                instance: AtomicU32::new(0),
            })
        };
        let doors = addresses.iter().map(door).collect::<Result<_, String>>()?;
        Ok(Arc::new(Self { doors }))
    }

    /// Doors in the order in which to try them: they take turns. Where somebody looks, those that are ready do, and the
    /// others come last.
    pub(crate) fn order(&self, turn: u64, looks: bool) -> impl Iterator<Item = usize> {
        let count = self.doors.len();
        let nth = move |offset: usize| (turn as usize + offset) % count;
        let ready = move |index: &usize| !looks || self.doors[*index].ready.load(Ordering::Relaxed);
        let first = (0..count).map(nth).filter(move |index| ready(index));
        let last = (0..count).map(nth).filter(move |index| !ready(index));
        first.chain(last)
    }

    /// Asks all ingresses again and again whether they are ready; never returns.
    pub(crate) async fn probe(self: Arc<Self>) {
        let mut connections: Vec<_> = self.doors.iter().map(|door| Connection::new(door.address)).collect();
        let requests: Vec<_> = self
            .doors
            .iter()
            .map(|door| door.target.encode("GET", "/readyz", None))
            .collect();
        loop {
            for (index, door) in self.doors.iter().enumerate() {
                let asked = connections[index].ask(&requests[index], Instant::now() + PROBE_TIMEOUT);
                let ready = asked.await.is_ok_and(|response| response.status == 200);
                door.ready.store(ready, Ordering::Relaxed);
            }
            sleep(PROBE_INTERVAL).await;
        }
    }
}

impl Door {
    /// The process that serves here.
    pub(crate) fn instance(&self) -> u32 {
        self.instance.load(Ordering::Relaxed)
    }

    /// The call for the weather of a nonce, with more headers.
    pub(crate) fn call(&self, nonce: Nonce, headers: &str) -> Vec<u8> {
        let body = format!("{{\"city\":\"{nonce}\"}}");
        let call = self.target.encode("POST", "/WeatherForecast/city", Some(&body));
        with(&call, headers)
    }

    /// Another process serves here.
    pub(crate) fn taken_by(&self, instance: u32) {
        self.instance.store(instance, Ordering::Relaxed);
    }
}

/// The same request with more headers, behind its first line.
pub(crate) fn with(request: &[u8], headers: &str) -> Vec<u8> {
    let line = request.windows(2).position(|two| two == b"\r\n").map_or(0, |at| at + 2);
    [&request[..line], headers.as_bytes(), &request[line..]].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_ready_take_turns_and_the_others_come_last() {
        let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let front = LoadBalancer::new(&addresses).unwrap();
        front.doors[1].ready.store(false, Ordering::Relaxed);
        assert_eq!(front.order(0, true).collect::<Vec<_>>(), [0, 2, 1]);
        assert_eq!(front.order(2, true).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(front.order(1, false).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
