//! What the embedded backend holds: a queue for each operation, replies, dead letters, records.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use super::beginning::Beginning;
use super::letters::Letters;
use super::line::Line;
use super::moment::millis;
use super::results::Kept;
use super::room::{self, Content, Room};
use crate::broker::result_store::cancelled;
use crate::broker::{
    Acceptance, Accepted, BrokerError, BrokerErrorKind, CancelOutcome, Depth, EntryId, LetterId, Position, Replayed,
    Retention, Settlement,
};
use crate::message::{CorrelationId, Keep, Reply, ReplyTo, Request};
use crate::operation::OperationName;

#[derive(Debug)]
pub(super) struct State {
    last: Position,
    /// Of what waits and what is claimed, of all operations.
    room: Room,
    lines: HashMap<OperationName, Line>,
    pub(super) replies: HashMap<ReplyTo, Mailbox>,
    pub(super) letters: Letters,
    pub(super) kept: Kept,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    pub(super) replies: VecDeque<Reply>,
    pub(super) arrived: Arc<Notify>,
}

impl State {
    /// Nothing, with `memory_limit` shared out: each has room that the others cannot take.
    pub(super) fn new(retention: Retention) -> Self {
        let eighth = retention.memory_limit / 8;
        Self {
            last: Position::default(),
            room: Room::new(2 * eighth),
            lines: HashMap::new(),
            replies: HashMap::new(),
            letters: Letters::new(eighth),
            kept: Kept::new(retention, 5 * eighth),
        }
    }

    /// The queue of an operation.
    pub(super) fn line(&mut self, operation: OperationName) -> &mut Line {
        self.lines.entry(operation).or_insert_with(|| Line::new(operation))
    }

    /// Whether there is room for requests to wait in. A lone one finds it wherever nothing else is, however large it
    /// is.
    pub(super) fn has_room<'a>(&self, requests: impl Iterator<Item = &'a Request>) -> bool {
        let (count, bytes) = requests.fold((0, 0), |(count, bytes), request| {
            (count + 1, bytes + room::of_request(request))
        });
        self.room.fits(bytes) || (count == 1 && self.room.is_empty())
    }

    /// Puts a request into its queue with its record, unless its key is known, which needs no room.
    pub(super) fn submit(&mut self, acceptance: &Acceptance) -> Result<Accepted, BrokerError> {
        let Acceptance { request, key } = acceptance;
        if let Some(known) = key.as_ref().and_then(|key| self.kept.known(key)) {
            return Ok(known);
        }
        if !self.has_room(std::iter::once(request)) || !self.kept.has_room(1) {
            return Err(full("publish with a record"));
        }
        let place = self.append(request.origin.operation, Ok(request.clone()));
        let beginning = Beginning {
            id: request.id,
            origin: request.origin.clone(),
            budget: request.budget,
            place: Some(place),
            attempts: 0,
        };
        self.kept.begin_record(&beginning, key.as_ref());
        Ok(Accepted::As(place))
    }

    pub(super) fn append(&mut self, operation: OperationName, content: Content) -> EntryId {
        self.room.take(room::of_entry(&content));
        let at = self.next_position();
        self.line(operation).append(at, content)
    }

    #[cfg(test)]
    pub(super) fn rooms_are_empty(&self) -> bool {
        self.room.is_empty() && self.letters.has_taken_nothing()
    }

    fn next_position(&mut self) -> Position {
        let millis = millis();
        self.last = match millis > self.last.millis {
            true => Position { millis, sequence: 0 },
            false => self.last.next(),
        };
        self.last
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let receipt = &settlement.receipt;
        let entry = receipt.entry;
        let line = self.line(entry.operation);
        let Some(content) = line.settle(receipt) else {
            return;
        };
        line.discarded += u64::from(settlement.is_discard());
        self.room.give_back(room::of_entry(&content));
        let letter = settlement.dead_letter.clone().map(|letter| {
            let id = LetterId::of(self.next_position());
            self.letters.keep(id, entry.operation, entry.at, letter, content);
            id
        });
        let Some((reply_to, reply)) = &settlement.reply else {
            return;
        };
        let mut reply = reply.clone();
        if let (Err(fault), Some(letter)) = (&mut reply.outcome, letter) {
            fault.dead_letter = Some(letter.to_string());
        }
        self.kept.forget_wish(reply.id);
        // Whoever waits and was only away may promise the result when it is back.
        if !self.replies.contains_key(reply_to) && self.kept.store(&reply, settlement.may_have_begun) {
            return;
        }
        if settlement.keep != Keep::No {
            self.kept.complete(&reply, settlement.may_have_begun);
        }
        if settlement.keep != Keep::Only {
            self.deliver(reply_to, reply);
        }
    }

    /// Ends a request.
    pub(super) fn cancel(&mut self, id: CorrelationId, entry: Option<EntryId>) -> CancelOutcome {
        let status = self.kept.status(id);
        if let Some(ended) = status.filter(|status| status.is_final()) {
            return CancelOutcome::AlreadyFinished(ended);
        }
        let place = self.kept.place(id).or(entry);
        if let Some(content) = place.and_then(|place| self.take_waiting(place)) {
            let origin = content
                .as_ref()
                .map(|request| request.origin.clone())
                .unwrap_or_default();
            let reply = Reply::new(id, origin, Err(cancelled()));
            self.kept.complete(&reply, false);
            if let Some(request) = content.ok().filter(|request| request.keep != Keep::Only) {
                self.deliver(&request.reply_to, reply);
            }
            return CancelOutcome::Cancelled;
        }
        let at_work = place.is_some_and(|place| self.line(place.operation).is_claimed(place));
        match status.is_some() || at_work {
            true => self.kept.wish(id),
            false => CancelOutcome::Unknown,
        }
    }

    /// Puts the request of a letter back.
    pub(super) fn replay(&mut self, id: LetterId) -> Result<Replayed, BrokerError> {
        let (operation, request) = match self.letters.content(id) {
            None => return Ok(Replayed::Unknown),
            Some((_, Err(_))) => return Ok(Replayed::Malformed),
            Some((operation, Ok(request))) => (operation, request.clone()),
        };
        if !self.kept.has_room_to_reopen(request.id) || !self.has_room(std::iter::once(&request)) {
            return Err(full("replay a dead letter"));
        }
        self.letters.discard(id);
        let (request_id, budget) = (request.id, request.budget);
        let entry = self.append(operation, Ok(request));
        self.kept.reopen(request_id, budget, entry);
        Ok(Replayed::As(entry))
    }

    /// How much is in one queue, and in all of this.
    pub(super) fn depth(&mut self, operation: OperationName) -> Depth {
        Depth {
            dead_letters: self.letters.len() as u64,
            ..self.line(operation).depth()
        }
    }

    /// A requester that is gone has no mailbox: nobody would ever read, or empty, a new one.
    pub(super) fn deliver(&mut self, reply_to: &ReplyTo, reply: Reply) {
        if let Some(mailbox) = self.replies.get_mut(reply_to) {
            mailbox.replies.push_back(reply);
            mailbox.arrived.notify_one();
        }
    }

    /// Takes an entry out that nobody has claimed yet.
    fn take_waiting(&mut self, id: EntryId) -> Option<Content> {
        let line = self.line(id.operation);
        let content = line.take_waiting(id)?;
        line.discarded += 1;
        self.room.give_back(room::of_entry(&content));
        Some(content)
    }
}

/// There is no room. Nobody is at fault, and everything else goes on.
pub(super) fn full(operation: &'static str) -> BrokerError {
    let cause = "there is no room in memory for another request, or its record (MEMORY_LIMIT)";
    BrokerError::new(BrokerErrorKind::Full, operation, cause)
}
