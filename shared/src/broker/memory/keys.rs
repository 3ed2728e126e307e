//! Which request an idempotency key names. A key goes with its record at the latest, and so needs no room of its own.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::IdempotencyKey;
use crate::message::CorrelationId;

/// A key's digest.
pub(super) type Name = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<Name, Claim>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) id: CorrelationId,
    pub(super) fingerprint: [u8; 32],
    dies: Instant,
}

impl Keys {
    pub(super) fn find(&self, name: &Name) -> Option<Claim> {
        self.0.get(name).copied().filter(|claim| claim.dies > Instant::now())
    }

    /// Lets a key name a request for so long.
    pub(super) fn claim(&mut self, key: &IdempotencyKey, id: CorrelationId, time: Duration) -> Name {
        let (fingerprint, dies) = (key.fingerprint, Instant::now() + time);
        self.0.insert(key.name, Claim { id, fingerprint, dies });
        key.name
    }

    /// Lets a key live for at least so long from now on.
    pub(super) fn prolong(&mut self, name: &Name, time: Duration) {
        if let Some(claim) = self.0.get_mut(name) {
            claim.dies = claim.dies.max(Instant::now() + time);
        }
    }

    /// Removes a key, unless it names another request by now.
    pub(super) fn free(&mut self, name: &Name, id: CorrelationId) {
        if self.0.get(name).is_some_and(|claim| claim.id == id) {
            self.0.remove(name);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
