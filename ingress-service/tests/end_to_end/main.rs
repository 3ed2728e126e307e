//! Whole processes against a real redis-server: what callers, operators and neighbours get to see.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // What is printed is for whoever reads the test's output.

mod bad_input;
mod bad_wire;
mod bodies;
mod by_hand;
mod client;
mod codings;
mod dead_letters;
mod documented;
mod flow;
mod harness;
mod keys;
mod limits;
mod openapi;
mod operations;
mod outage;
mod overload;
mod parameters;
mod probes;
mod raw;
mod recorded;
mod requests;
mod shutdown;
mod slow_clients;
mod start;
mod streams;
mod traces;
mod unfit;
mod upstream;
mod wishes;
