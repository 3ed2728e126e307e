//! The judge of a run: what callers saw and what ran, against the invariants. It knows nothing of how the run came
//! about (processes or a simulation), so that every run is judged by the same rules.
//!
//! A run fills a [`Record`]: a [`Call`] for each request, a [`Promise`] for each result that was asked for later, the
//! [`Runs`] of the handlers, and when it was disturbed ([`Disturbances`]). [`judge`] says what does not hold, rule by
//! rule and with the number of the request.

pub mod finding;
mod judgement;
pub mod nonce;
mod record;
mod rules;
mod runs;

pub use judgement::{Judgement, Rule, Violation};
pub use record::{Call, Disturbances, End, Interruption, Promise, Record, Via, Wish};
pub use rules::judge;
pub use runs::{Run, Runs};

#[cfg(test)]
mod tests;
