//! Calling scripts. The source is sent each time: scripts are for rare calls, and a server that lost its
//! script cache then needs no second attempt.

use redis::{Pipeline, Value};

use super::codec;

/// Adds one call of a script to a pipeline; its arguments follow.
/// <https://redis.io/docs/latest/commands/eval/>
pub(super) fn eval(commands: &mut Pipeline, script: &str, keys: &[&str]) {
    commands.cmd("EVAL").arg(script).arg(keys.len()).arg(keys);
}

/// The number that a pipeline's one command answered with; 0 where it answered something else.
pub(super) fn one_number(answer: &Value) -> u64 {
    match answer {
        Value::Array(answers) => answers.first().and_then(codec::number).unwrap_or(0),
        _ => 0,
    }
}
