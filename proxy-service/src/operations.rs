//! The operations of this service, a module each.

pub mod weather;
