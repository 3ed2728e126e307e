//! Entries in nobody's hands: they lie before the last that was delivered, so that no claim hands them out, and in no
//! pending list. The group was made at `$`, or somebody deleted a consumer that held them. They become dropped work.
//!
//! The search goes from one pending entry to the next and looks at what lies between: mostly nothing. So it moves next
//! to no data, whatever is at work or waits. It goes on where it ended, a bounded part at a time.

use tokio::sync::Mutex;

use crate::broker::redis::GROUP;
use crate::broker::redis::codec;
use crate::broker::redis::connection::dedicated::{Dedicated, Handshake, Unread};
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::redis::connection::shared::Link;
use crate::broker::redis::errors::{misfit, refused};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::lease::RELEASED;
use crate::broker::redis::portion::Portion;
use crate::broker::redis::scripts;
use crate::broker::{BrokerError, Consumer, Position};

const SEARCH: &str = "look for entries in nobody's hands";

/// How many pending entries one step passes, at most: some milliseconds of the server's time, and others come in
/// between its commands.
const STEP: usize = 256;

/// How many steps one call takes, at most: a million entries are passed in five minutes, by a single worker.
const STEPS: usize = 64;

/// How far the search has come.
#[derive(Debug)]
pub(in crate::broker::redis) struct Search {
    lane: Dedicated,
    portion: Portion,
    after: Mutex<Position>,
}

/// What lies between two entries, of which neither belongs to it, and how it ends.
type Gap = (Position, Position);

impl Search {
    pub(in crate::broker::redis) fn new() -> Self {
        Self {
            lane: Dedicated::quick(),
            portion: Portion::default(),
            after: Mutex::default(),
        }
    }

    /// Goes on with the search, up to the `last` entry that was delivered, and begins anew behind that. Returns how
    /// many entries became `consumer`'s to reclaim.
    pub(in crate::broker::redis) async fn go_on(
        &self,
        link: &Link,
        keys: &Keys,
        consumer: &Consumer,
        last: Position,
    ) -> Result<u64, BrokerError> {
        let mut after = self.after.lock().await;
        let mut rescued = 0;
        for _ in 0..STEPS {
            if *after >= last {
                *after = Position::default();
                break;
            }
            let gaps = self.gaps(link, keys, *after, last).await?;
            let (found, end) = self.between(link, keys, *after, &gaps).await?;
            rescued += self.rescue(link, keys, consumer, &found).await?;
            *after = end;
        }
        Ok(rescued)
    }

    /// What lies between the next pending entries: their ids are known without their data.
    /// <https://redis.io/docs/latest/commands/xpending/>
    async fn gaps(&self, link: &Link, keys: &Keys, after: Position, last: Position) -> Result<Vec<Gap>, BrokerError> {
        let count = self.portion.of(STEP);
        let mut commands = Commands::default();
        commands.begin(6).arg("XPENDING").arg(keys.requests()).arg(GROUP);
        commands
            .arg(format!("({after}"))
            .arg(last.to_string())
            .number(count as u64);
        let mut answer = self.lane.run(link, SEARCH, Handshake::none, &commands).await?;
        let mut ends = read_rows(&mut answer).ok_or_else(|| misfit(SEARCH))?;
        if ends.len() < count {
            ends.push(last.next());
        }
        let mut gaps = Vec::with_capacity(ends.len());
        let mut begin = after;
        for end in ends {
            gaps.push((begin, end));
            begin = end;
        }
        Ok(gaps)
    }

    /// Entries in these gaps, and how far all were looked at. <https://redis.io/docs/latest/commands/xrange/>
    async fn between(
        &self,
        link: &Link,
        keys: &Keys,
        after: Position,
        gaps: &[Gap],
    ) -> Result<(Vec<Position>, Position), BrokerError> {
        let portion = self.portion.of(STEP);
        // Where the last step ended there may be many; behind that, a second one says that there are more.
        let most = |nth: usize| if nth == 0 { portion } else { 2 };
        let mut commands = Commands::with_capacity(gaps.len() * 128);
        let wide: Vec<Gap> = gaps
            .iter()
            .copied()
            .filter(|(begin, end)| begin.next() < *end)
            .collect();
        for (nth, (begin, end)) in wide.iter().enumerate() {
            commands.begin(6).arg("XRANGE").arg(keys.requests());
            commands.arg(format!("({begin}")).arg(format!("({end}"));
            commands.arg("COUNT").number(most(nth) as u64);
        }
        let end = gaps.last().map_or(after, |(_, end)| *end);
        if wide.is_empty() {
            return Ok((Vec::new(), end));
        }
        let answer = self
            .lane
            .read(link, SEARCH, Handshake::none, &commands, Portion::limit(portion));
        let mut answer = match answer.await {
            Ok(answer) => answer.map_err(|error| refused(SEARCH, error))?,
            // What there is of it says as well what was found.
            Err(Unread::Cut(cut)) => {
                self.portion.cut();
                let (found, end, _) = read_found(&mut { cut.head }, &wide, |_| usize::MAX, after);
                return Ok((found, end));
            }
            Err(Unread::Failed(error)) => return Err(error),
        };
        let length = answer.length();
        let (found, end, is_whole) = read_found(&mut answer, &wide, most, end);
        if !is_whole {
            return Err(misfit(SEARCH));
        }
        self.portion.came(gaps.len().max(found.len()), length);
        Ok((found, end))
    }

    async fn rescue(
        &self,
        link: &Link,
        keys: &Keys,
        consumer: &Consumer,
        entries: &[Position],
    ) -> Result<u64, BrokerError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let mut commands = Commands::default();
        commands
            .begin(7 + entries.len())
            .arg("EVAL")
            .arg(scripts::RESCUE.text)
            .number(1)
            .arg(keys.requests());
        commands
            .arg(GROUP)
            .arg(consumer.as_str())
            .number(RELEASED.as_millis() as u64);
        for entry in entries {
            commands.arg(entry.to_string());
        }
        let mut answer = self.lane.run(link, SEARCH, Handshake::none, &commands).await?;
        answer.number().ok_or_else(|| misfit(SEARCH))
    }
}

/// Reads the ids of XPENDING's rows, `[id, consumer, idle, deliveries]` each.
fn read_rows(answer: &mut Cursor) -> Option<Vec<Position>> {
    let rows = answer.list()?;
    let row = |_| {
        answer.list()?;
        let id = Position::parse(&answer.text()?)?;
        let (_consumer, _idle, _deliveries) = (answer.text()?, answer.number()?, answer.number()?);
        Some(id)
    };
    (0..rows).map(row).collect()
}

/// Reads the ids of what lies in gaps, in the nth at most `most(nth)`, and says behind which entry nothing is known
/// yet: `end`, unless a gap held more, or the answer ends before. Says as well whether it was read as far as it
/// matters.
fn read_found(
    answer: &mut Cursor,
    gaps: &[Gap],
    most: impl Fn(usize) -> usize,
    end: Position,
) -> (Vec<Position>, Position, bool) {
    let mut found = Vec::new();
    for (nth, (begin, _)) in gaps.iter().enumerate() {
        let Some(count) = answer.list() else {
            return (found, *begin, false);
        };
        for n in 0..count {
            let Some((id, _, whole)) = codec::read_one(answer) else {
                let looked_at = found.last().copied().unwrap_or(*begin);
                return (found, looked_at, false);
            };
            found.push(id);
            if !whole || n + 1 == most(nth) {
                return (found, id, whole);
            }
        }
    }
    (found, end, true)
}
