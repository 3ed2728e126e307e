//! Round trips without HTTP: the loops of an ingress on a broker in memory, with the test as its worker.
#![allow(clippy::unwrap_used)]

mod disconnecting;
mod draining;
mod expiring;
mod following;
mod jobs;
mod promising;
pub(crate) mod stage;
