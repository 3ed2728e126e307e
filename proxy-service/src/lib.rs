//! Workers of Roundtrip.

pub mod classify;
pub mod weather;
