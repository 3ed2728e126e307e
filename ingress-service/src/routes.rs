//! The operations callers see, one module each.

pub mod weather;
