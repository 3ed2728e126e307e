//! A dedicated connection: a socket that one loop of the process has for itself, made when it is needed and made again
//! after it broke. It repeats no command: only the caller knows whether it may.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::broker::redis::codec::MAX_DATA;
use crate::broker::redis::connection::resp::{Commands, Cursor};
use crate::broker::redis::connection::shared::{BLOCKING_TIMEOUT, COMMAND_TIMEOUT, CONNECT_TIMEOUT, Link};
use crate::broker::redis::connection::socket::{Cut, Socket, Terms, Unanswered};
use crate::broker::redis::errors::{Sent, ServerError, denied, refused, unanswered};
use crate::broker::{BrokerError, BrokerErrorKind};

/// The largest answer there is: one entry with the largest data, and as much again as nobody needs beside it.
pub(in crate::broker::redis) const MAX_ANSWER: usize = MAX_DATA + 1024 * 1024;

#[derive(Debug)]
pub(in crate::broker::redis) struct Dedicated {
    socket: Mutex<Option<Socket>>,
    answer_timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::broker::redis) enum Unread {
    Failed(BrokerError),
    /// The server had one, and it was given up. What the commands do, they have done.
    Cut(Cut),
}

impl Unread {
    /// The error for those who do not look into it.
    pub(in crate::broker::redis) fn into_error(self, operation: &'static str) -> BrokerError {
        match self {
            Self::Failed(error) => error,
            Self::Cut(cut) => unanswered(operation, Sent::Maybe, cut),
        }
    }
}

/// What a new connection has to answer before anything else is sent on it.
pub(in crate::broker::redis) struct Handshake {
    pub(in crate::broker::redis) commands: Commands,
    /// Judges the answer; an error says what is wrong with the server.
    pub(in crate::broker::redis) accept: fn(&mut Cursor) -> Result<(), &'static str>,
}

impl Handshake {
    /// Nothing to ask.
    pub(in crate::broker::redis) fn none() -> Self {
        Self {
            commands: Commands::default(),
            accept: |_| Ok(()),
        }
    }
}

impl Dedicated {
    /// A connection for commands that answer at once.
    pub(in crate::broker::redis) fn quick() -> Self {
        Self::new(COMMAND_TIMEOUT)
    }

    /// A connection for reads that block.
    pub(in crate::broker::redis) fn blocking() -> Self {
        Self::new(BLOCKING_TIMEOUT)
    }

    fn new(answer_timeout: Duration) -> Self {
        Self {
            socket: Mutex::new(None),
            answer_timeout,
        }
    }

    /// Runs commands, once; on a new connection behind its handshake.
    pub(in crate::broker::redis) async fn run(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Handshake,
        commands: &Commands,
    ) -> Result<Cursor, BrokerError> {
        let answer = self.try_run(link, operation, introduction, commands).await?;
        answer.map_err(|error| refused(operation, error))
    }

    /// The same, with a server's own error kept apart for those who know what to do about it.
    pub(in crate::broker::redis) async fn try_run(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Handshake,
        commands: &Commands,
    ) -> Result<Result<Cursor, ServerError>, BrokerError> {
        let answer = self.read(link, operation, introduction, commands, MAX_ANSWER).await;
        answer.map_err(|unread| unread.into_error(operation))
    }

    /// The same, where each command has an answer of its own: errors stand among the others.
    pub(in crate::broker::redis) async fn run_each(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Handshake,
        commands: &Commands,
    ) -> Result<Cursor, BrokerError> {
        let answered = self.exchange(link, operation, introduction, commands, MAX_ANSWER).await;
        let (answers, _) = answered.map_err(|unread| unread.into_error(operation))?;
        Ok(answers)
    }

    /// The same as [`Dedicated::try_run`], for answers whose size nobody knows: given up where they are longer than
    /// `limit`.
    pub(in crate::broker::redis) async fn read(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Handshake,
        commands: &Commands,
        limit: usize,
    ) -> Result<Result<Cursor, ServerError>, Unread> {
        let (answer, error) = self.exchange(link, operation, introduction, commands, limit).await?;
        Ok(error.map_or(Ok(answer), Err))
    }

    async fn exchange(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Handshake,
        commands: &Commands,
        limit: usize,
    ) -> Result<(Cursor, Option<ServerError>), Unread> {
        let mut place = self.socket.lock().await;
        // Taken out, and put back only after an answer: an exchange that fails or is dropped takes its
        // socket along, so that no answer is ever read by the wrong question.
        let mut socket = match open(place.take()).await {
            Some(socket) => socket,
            None => {
                let introduction = introduction();
                let mut socket = connect(link, operation).await.map_err(Unread::Failed)?;
                introduce(&mut socket, operation, introduction)
                    .await
                    .map_err(Unread::Failed)?;
                socket
            }
        };
        let terms = Terms {
            patience: self.answer_timeout,
            limit,
        };
        let (answer, error) = match socket.exchange(commands, terms).await {
            Ok(answered) => answered,
            Err(Unanswered::Cut(cut)) => return Err(Unread::Cut(cut)),
            Err(failed) => return Err(Unread::Failed(failure(operation, Sent::Maybe, failed))),
        };
        // Such a server answers, and always no: the next try looks for another.
        if !error.as_ref().is_some_and(ServerError::spoils_connection) {
            *place = Some(socket);
        }
        Ok((answer, error))
    }
}

fn failure(operation: &'static str, sent: Sent, failed: Unanswered) -> BrokerError {
    match failed {
        Unanswered::Broken(error) => unanswered(operation, sent, error),
        Unanswered::Late(elapsed) => unanswered(operation, sent, elapsed),
        Unanswered::Cut(cut) => unanswered(operation, sent, cut),
    }
}

/// The socket, unless the peer closed it: found out before anything is sent, that leaves nothing in doubt.
async fn open(socket: Option<Socket>) -> Option<Socket> {
    let mut socket = socket?;
    (!socket.is_closed().await).then_some(socket)
}

/// Nothing of what the caller wants done was sent yet, so whatever fails here leaves nothing in doubt.
async fn introduce(socket: &mut Socket, operation: &'static str, introduction: Handshake) -> Result<(), BrokerError> {
    if introduction.commands.count() == 0 {
        return Ok(());
    }
    let terms = Terms {
        patience: COMMAND_TIMEOUT,
        limit: MAX_ANSWER,
    };
    let mut answer = match socket.exchange(&introduction.commands, terms).await {
        Ok((_, Some(error))) => return Err(refused(operation, error)),
        Ok((answer, None)) => answer,
        Err(failed) => return Err(failure(operation, Sent::No, failed)),
    };
    (introduction.accept)(&mut answer).map_err(|cause| BrokerError::new(BrokerErrorKind::Unavailable, operation, cause))
}

async fn connect(link: &Link, operation: &'static str) -> Result<Socket, BrokerError> {
    match timeout(CONNECT_TIMEOUT, Socket::connect(link.info(), BLOCKING_TIMEOUT)).await {
        // Nothing was said yet but who we are.
        Ok(Ok(connected)) => connected.map_err(|error| denied(operation, error)),
        Ok(Err(error)) => Err(unanswered(operation, Sent::No, error)),
        Err(elapsed) => Err(unanswered(operation, Sent::No, elapsed)),
    }
}
