//! Appending requests. All of a batch or none: a transaction costs no more than a plain pipeline, and a
//! half-written batch could not be reported.

use super::codec;
use super::connection::Link;
use super::keys::Keys;
use super::lane::Lane;
use super::wire::Commands;
use crate::broker::BrokerError;
use crate::message::Request;

const PUBLISH: &str = "publish to the request stream";

/// What an encoded request takes beside its data, in bytes, about.
const ENVELOPE: usize = 320;

/// `XADD` without MAXLEN: trimming would lose requests that nobody has worked on.
/// <https://redis.io/docs/latest/commands/xadd/>
pub(super) async fn publish(lane: &Lane, link: &Link, keys: &Keys, requests: &[Request]) -> Result<(), BrokerError> {
    if requests.is_empty() {
        return Ok(());
    }
    lane.run(link, PUBLISH, &encode(keys, requests)).await.map(|_| ())
}

pub(super) fn encode(keys: &Keys, requests: &[Request]) -> Commands {
    let size = requests.iter().map(|request| request.data.len() + ENVELOPE).sum();
    let mut commands = Commands::with_capacity(size);
    match requests {
        // One command is all or none by itself.
        [request] => add(&mut commands, keys, request),
        requests => {
            commands.begin(1).arg("MULTI");
            requests.iter().for_each(|request| add(&mut commands, keys, request));
            commands.begin(1).arg("EXEC");
        }
    }
    commands
}

fn add(commands: &mut Commands, keys: &Keys, request: &Request) {
    commands
        .begin(3 + codec::REQUEST_ARGUMENTS)
        .arg("XADD")
        .arg(keys.requests())
        .arg("*");
    codec::write_request(commands, request);
}
