//! A lane: a socket that one loop of the process has for itself, made when it is needed and made again
//! when it broke. Repeating a command is not its business: only the caller knows whether it may.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{BLOCKING_TIMEOUT, COMMAND_TIMEOUT, CONNECT_TIMEOUT, Link};
use super::errors::{Sent, refused, unanswered};
use super::socket::{ServerError, Socket};
use super::wire::{Commands, Cursor};
use crate::broker::{BrokerError, BrokerErrorKind};

#[derive(Debug)]
pub(super) struct Lane {
    socket: Mutex<Option<Socket>>,
    answer_timeout: Duration,
}

/// What a new connection has to answer before anything else is sent on it.
pub(super) struct Introduction {
    pub(super) commands: Commands,
    /// Judges the answer; an error says what is wrong with the server.
    pub(super) accept: fn(&mut Cursor) -> Result<(), &'static str>,
}

impl Introduction {
    /// Nothing to ask.
    pub(super) fn none() -> Self {
        Self {
            commands: Commands::default(),
            accept: |_| Ok(()),
        }
    }
}

impl Lane {
    /// A lane for commands that answer at once.
    pub(super) fn quick() -> Self {
        Self::new(COMMAND_TIMEOUT)
    }

    /// A lane for reads that block.
    pub(super) fn blocking() -> Self {
        Self::new(BLOCKING_TIMEOUT)
    }

    fn new(answer_timeout: Duration) -> Self {
        Self {
            socket: Mutex::new(None),
            answer_timeout,
        }
    }

    /// Runs commands, once; on a new connection behind its introduction.
    pub(super) async fn run(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Introduction,
        commands: &Commands,
    ) -> Result<Cursor, BrokerError> {
        let answer = self.try_run(link, operation, introduction, commands).await?;
        answer.map_err(|error| refused(operation, error))
    }

    /// The same, with a server's own error kept apart for those who know what to do about it.
    pub(super) async fn try_run(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Introduction,
        commands: &Commands,
    ) -> Result<Result<Cursor, ServerError>, BrokerError> {
        let (answer, error) = self.exchange(link, operation, introduction, commands).await?;
        Ok(error.map_or(Ok(Cursor::new(answer)), Err))
    }

    /// The same, where each command has an answer of its own: errors stand among the others.
    pub(super) async fn run_each(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Introduction,
        commands: &Commands,
    ) -> Result<Cursor, BrokerError> {
        let (answer, _) = self.exchange(link, operation, introduction, commands).await?;
        Ok(Cursor::new(answer))
    }

    async fn exchange(
        &self,
        link: &Link,
        operation: &'static str,
        introduction: impl FnOnce() -> Introduction,
        commands: &Commands,
    ) -> Result<(Bytes, Option<ServerError>), BrokerError> {
        let mut place = self.socket.lock().await;
        // Taken out, and put back only after an answer: an exchange that fails or is dropped takes its
        // socket along, so that no answer is ever read by the wrong question.
        let mut socket = match open(place.take()).await {
            Some(socket) => socket,
            None => {
                let introduction = introduction();
                let mut socket = connect(link, operation).await?;
                introduce(&mut socket, operation, introduction).await?;
                socket
            }
        };
        let (answer, error) = match timeout(self.answer_timeout, socket.exchange(commands)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return Err(unanswered(operation, Sent::Maybe, error)),
            Err(elapsed) => return Err(unanswered(operation, Sent::Maybe, elapsed)),
        };
        // A server that was demoted answers, and always no: the next try looks for its successor.
        let demoted = |error: &ServerError| matches!(error.code(), "READONLY" | "UNBLOCKED");
        if !error.as_ref().is_some_and(demoted) {
            *place = Some(socket);
        }
        Ok((answer, error))
    }
}

/// The socket, unless the peer closed it: found out before anything is sent, that leaves nothing in doubt.
async fn open(socket: Option<Socket>) -> Option<Socket> {
    let mut socket = socket?;
    (!socket.is_closed().await).then_some(socket)
}

/// Nothing of what the caller wants done was sent yet, so whatever fails here leaves nothing in doubt.
async fn introduce(
    socket: &mut Socket,
    operation: &'static str,
    introduction: Introduction,
) -> Result<(), BrokerError> {
    if introduction.commands.count() == 0 {
        return Ok(());
    }
    let answer = match timeout(COMMAND_TIMEOUT, socket.exchange(&introduction.commands)).await {
        Ok(Ok((_, Some(error)))) => return Err(refused(operation, error)),
        Ok(Ok((answer, None))) => answer,
        Ok(Err(error)) => return Err(unanswered(operation, Sent::No, error)),
        Err(elapsed) => return Err(unanswered(operation, Sent::No, elapsed)),
    };
    (introduction.accept)(&mut Cursor::new(answer))
        .map_err(|cause| BrokerError::new(BrokerErrorKind::Unavailable, operation, cause))
}

async fn connect(link: &Link, operation: &'static str) -> Result<Socket, BrokerError> {
    match timeout(CONNECT_TIMEOUT, Socket::connect(link.info(), BLOCKING_TIMEOUT)).await {
        Ok(Ok(connected)) => connected.map_err(|error| refused(operation, error)),
        Ok(Err(error)) => Err(unanswered(operation, Sent::No, error)),
        Err(elapsed) => Err(unanswered(operation, Sent::No, elapsed)),
    }
}
