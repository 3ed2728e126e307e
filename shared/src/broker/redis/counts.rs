//! The hash of counts: how many requests ended without a result, for those who measure how fast requests are worked
//! off, and how many terminals each worker has. The rule: counting never fails what it comes with, nor makes it be
//! repeated.

use std::collections::BTreeMap;

use super::keys::counts_of;
use super::scripts;
use crate::broker::Settlement;
use crate::broker::redis::connection::resp::Commands;

/// The field that counts what ended without a result.
pub(super) const DISCARDED: &str = "discarded";

/// The field of a consumer's terminals begins so.
pub(super) const TERMINALS: &str = "terminals:";

/// Adds the count of what is discarded behind the commands that discard it. A batch without any sends nothing more.
/// <https://redis.io/docs/latest/commands/hincrby/>
pub(super) fn count_discards(commands: &mut Commands, settlements: &[&Settlement]) {
    let mut discarded = BTreeMap::new();
    for settlement in settlements.iter().filter(|settlement| settlement.is_discard()) {
        *discarded.entry(settlement.receipt.entry.operation).or_insert(0) += 1;
    }
    for (operation, count) in discarded {
        commands
            .begin(6)
            .arg("EVAL")
            .arg(scripts::COUNT_DISCARDS.text)
            .number(1)
            .arg(counts_of(operation));
        commands.arg(DISCARDED).number(count);
    }
}
