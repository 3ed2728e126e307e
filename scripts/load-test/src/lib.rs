//! Load on a running Roundtrip: asks for the weather over many connections, verifies every answer and measures
//! how long it took.

pub mod answer;
pub mod cities;
pub mod connection;
pub mod failure;
pub mod question;
pub mod response;
pub mod target;
