//! Load on a running Roundtrip: asks for the weather over many connections, verifies every answer and measures
//! how long it took. The program in `src/bin` is a command line around [`engine::LoadTest`].

pub mod answer;
pub mod cities;
pub mod connection;
pub mod engine;
pub mod failure;
pub mod health;
pub mod html;
pub mod plan;
pub mod question;
pub mod recorder;
pub mod report;
pub mod response;
mod schedule;
mod svg;
pub mod target;
pub mod text;
