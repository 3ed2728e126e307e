//! Appending requests. All of a batch or none: a transaction costs no more than a plain pipeline, and a
//! half-written batch could not be reported.

use redis::Pipeline;

use super::codec;
use super::connection::Link;
use super::keys::Keys;
use crate::broker::BrokerError;
use crate::message::Request;

/// `XADD` without MAXLEN: trimming would lose requests that nobody has worked on.
/// <https://redis.io/docs/latest/commands/xadd/>
pub(super) async fn publish(link: &Link, keys: &Keys, requests: &[Request]) -> Result<(), BrokerError> {
    if requests.is_empty() {
        return Ok(());
    }
    let mut commands = Pipeline::with_capacity(requests.len());
    commands.atomic();
    for request in requests {
        let command = commands.cmd("XADD").arg(keys.requests()).arg("*");
        codec::write_request(command, request);
        command.ignore();
    }
    link.run("publish to the request stream", &commands).await.map(|_| ())
}
