//! Claiming only what is about to expire.

use std::time::Duration;

use tokio::time::Instant;

use crate::batch::MAX_BYTES;
use crate::broker::redis::GROUP;
use crate::broker::redis::claim::{Taking, deliveries, is_stale, stale};
use crate::broker::redis::clock::Step;
use crate::broker::redis::codec::{self, Fields};
use crate::broker::redis::connection::dedicated::Handshake;
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::redis::errors::misfit;
use crate::broker::redis::scripts;
use crate::broker::{BrokerError, Delivery, Position};

const CLAIM_DUE: &str = "claim what is about to expire";

/// The most of one call: the script looks at each, with its data.
const MAX: usize = 64;

impl Taking<'_> {
    /// Claims what expires `within` this time. <https://redis.io/docs/latest/commands/xreadgroup/>
    pub(in crate::broker::redis) async fn claim_due(
        self,
        within: Duration,
        max: usize,
    ) -> Result<Vec<Delivery>, BrokerError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let ahead = self.clock.last_ahead().unwrap_or(Step { before: 0, by: 0 });
        let mut commands = Commands::default();
        commands
            .begin(11)
            .arg("EVAL")
            .arg(scripts::CLAIM_DUE.text)
            .number(1)
            .arg(self.keys.requests());
        commands.arg(GROUP).arg(self.consumer.as_str());
        commands.number(within.as_millis() as u64).number(max.min(MAX) as u64);
        commands.number(MAX_BYTES as u64).number(ahead.before).number(ahead.by);
        let (asked, lane) = (Instant::now(), &self.reader.lane);
        let mut answer = lane.run(self.link, CLAIM_DUE, Handshake::none, &commands).await?;
        let claimed = answer.began();
        if is_stale(asked, claimed, self.lease) {
            return Err(stale(CLAIM_DUE));
        }
        let (time, entries) = read(&mut answer).ok_or_else(|| misfit(CLAIM_DUE))?;
        let ages = self.clock.ages(Some(time));
        let first = entries.into_iter().map(|(id, fields)| (id, 1, fields));
        Ok(deliveries(self.keys.operation(), self.consumer, claimed, &ages, first))
    }
}

/// Reads the server's time, and what was claimed.
fn read(answer: &mut Cursor) -> Option<(u64, Vec<(Position, Fields)>)> {
    answer.list()?;
    Some((codec::read_time(answer)?, codec::read_range(answer)?))
}
