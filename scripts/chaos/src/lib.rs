//! What the chaos program and its worker share: the ledger of what really ran.
//! The one rule: the ledger lives outside of everything that is broken on purpose.

pub mod ledger;

/// The variable that tells a worker how long slow work takes.
pub const SLOW: &str = "CHAOS_SLOW";
