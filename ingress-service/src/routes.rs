//! The operations callers see, one module each.

pub mod requests;
pub mod weather;
