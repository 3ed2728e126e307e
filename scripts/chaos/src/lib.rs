//! What the chaos program and its worker share: how a request is named, and the ledger of what really ran.
//! The one rule: the ledger lives outside of everything that is broken on purpose.

pub mod ledger;
pub mod nonce;
