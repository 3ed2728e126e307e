//! Connections to the server: one that all rare calls share, and dedicated ones for the calls of every request.

pub(super) mod dedicated;
mod patience;
pub(super) mod resp;
pub(super) mod shared;
pub(super) mod socket;
