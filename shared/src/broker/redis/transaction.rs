//! Reading what a transaction answers.
//! <https://redis.io/docs/latest/develop/using-commands/transactions/>

use super::errors::{ServerError, misfit, refused};
use crate::broker::BrokerError;
use crate::broker::redis::connection::resp::{Cursor, Value};

/// Reads the answers up to those of the transaction's own commands, which follow one by one.
///
/// # Errors
/// Why it was not done. The first error says so: EXEC only answers that there was one.
pub(super) fn executed(operation: &'static str, answer: &mut Cursor, commands: usize) -> Result<(), BrokerError> {
    let mut refusal = None;
    // MULTI, and each command, answered that it was heard, or why not.
    for _ in 0..=commands {
        if let Some(Value::Error(text)) = answer.next() {
            refusal.get_or_insert(text);
        }
    }
    match answer.next() {
        Some(Value::List(count)) if count == commands => Ok(()),
        Some(Value::Error(text)) => Err(refused(operation, ServerError::new(&refusal.unwrap_or(text)))),
        _ => Err(misfit(operation)),
    }
}
