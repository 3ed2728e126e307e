//! The shared connection: pipelined, for all but the commands every request passes through. It connects again by
//! itself, and repeats no command: only the caller knows whether it may.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, ProtocolVersion,
    RedisError, Value, from_redis_value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::broker::redis::answers::List;
use crate::broker::redis::connection::patience::{MOMENT, answered_by};
use crate::broker::redis::connection::socket::on_the_way;
use crate::broker::redis::errors::{Sent, broker_error, misfit, spoils_connection};
use crate::broker::{BrokerError, BrokerErrorKind, MAX_WAIT};

/// The time for a small command, which takes well under a millisecond; a large one has more. Past this the server or
/// the network hangs, and callers are better told so within a second.
pub(in crate::broker::redis) const COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

/// Connecting, with TLS and authentication. Together with a command it stays below a second.
pub(in crate::broker::redis) const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

const _: () = assert!(CONNECT_TIMEOUT.as_millis() + COMMAND_TIMEOUT.as_millis() + MOMENT.as_millis() < 1000);

/// A blocking read answers after [`MAX_WAIT`] at the latest; six times that means a hung peer.
pub(in crate::broker::redis) const BLOCKING_TIMEOUT: Duration = Duration::from_secs(3);

const _: () = assert!(BLOCKING_TIMEOUT.as_millis() > 2 * MAX_WAIT.as_millis());

const PING: &str = "reach Redis";

/// How to reach the server, and the shared connection to it.
#[derive(Debug, Clone)]
pub(in crate::broker::redis) struct Link {
    info: ConnectionInfo,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late error does not close the one that came after.
    generation: u64,
}

impl Link {
    pub(in crate::broker::redis) fn new(info: ConnectionInfo) -> Self {
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // Fails only when a provider is there already, which is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(
            TcpKeepalive::new()
                .with_time(Duration::from_secs(5))
                .with_interval(Duration::from_secs(1)),
        );
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(BLOCKING_TIMEOUT);
        // The replies' shapes differ in RESP3, and nothing here needs it.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        Self {
            info: info.set_tcp_settings(tcp).set_redis_settings(settings),
            shared: Arc::default(),
        }
    }

    /// Runs one command on the shared connection, once, and reads its answer.
    pub(in crate::broker::redis) async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Pipeline,
    ) -> Result<T, BrokerError> {
        let answer = self.try_run(operation, command).await?;
        answer.map_err(|error| broker_error(operation, Sent::Maybe, error))
    }

    /// The same, with a server's own error kept apart for those who know what to do about it.
    pub(in crate::broker::redis) async fn try_run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Pipeline,
    ) -> Result<Result<T, RedisError>, BrokerError> {
        match self.answers(operation, command).await? {
            Ok(answers) => {
                let answer = from_redis_value::<(T,)>(answers);
                answer.map(|(answer,)| Ok(answer)).map_err(|_| misfit(operation))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Runs commands as one trip, and reads an answer for each.
    pub(in crate::broker::redis) async fn run_all<T: FromRedisValue>(
        &self,
        operation: &'static str,
        commands: &Pipeline,
    ) -> Result<Vec<T>, BrokerError> {
        let answers = self.answers(operation, commands).await?;
        let answers = answers.map_err(|error| broker_error(operation, Sent::Maybe, error))?;
        match from_redis_value(answers) {
            Ok(List(answers)) if answers.len() == commands.cmd_iter().count() => Ok(answers),
            _ => Err(misfit(operation)),
        }
    }

    async fn answers(
        &self,
        operation: &'static str,
        commands: &Pipeline,
    ) -> Result<Result<Value, RedisError>, BrokerError> {
        let (mut connection, generation) = self.shared(operation).await?;
        let outcome = query(&mut connection, commands).await;
        let (sent, error) = match outcome {
            Ok(value) => return Ok(Ok(value)),
            Err(failed) => failed,
        };
        if spoils_connection(&error) {
            self.drop_shared(generation).await;
        }
        if error.is_io_error() || error.is_timeout() {
            return Err(broker_error(operation, sent, error));
        }
        Ok(Err(error))
    }

    /// Where the server is, and who we are to it.
    pub(in crate::broker::redis) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(in crate::broker::redis) async fn ping(&self) -> Result<Duration, BrokerError> {
        let started = Instant::now();
        match self.run::<String>(PING, redis::pipe().cmd("PING")).await?.as_str() {
            "PONG" => Ok(started.elapsed()),
            _ => Err(misfit(PING)),
        }
    }

    async fn shared(&self, operation: &'static str) -> Result<(MultiplexedConnection, u64), BrokerError> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &shared.connection {
            return Ok((connection.clone(), shared.generation));
        }
        // Others wait for the lock meanwhile, at most as long as connecting may take: one attempt serves all.
        let connection = self.connect(operation).await?;
        shared.generation += 1;
        shared.connection = Some(connection.clone());
        Ok((connection, shared.generation))
    }

    async fn drop_shared(&self, generation: u64) {
        let mut shared = self.shared.lock().await;
        if shared.generation == generation {
            shared.connection = None;
        }
    }

    async fn connect(&self, operation: &'static str) -> Result<MultiplexedConnection, BrokerError> {
        let client = Client::open(self.info.clone()).map_err(|error| broker_error(operation, Sent::No, error))?;
        // The library's limits count for each step of connecting, and its own for answers does not know of a process
        // that stood still.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        match timeout(
            CONNECT_TIMEOUT,
            client.get_multiplexed_async_connection_with_config(&config),
        )
        .await
        {
            Ok(connected) => connected.map_err(|error| broker_error(operation, Sent::No, error)),
            Err(elapsed) => Err(BrokerError::new(BrokerErrorKind::Unavailable, operation, elapsed)),
        }
    }
}

/// How many bytes the arguments of some commands have.
fn weight(commands: &Pipeline) -> usize {
    let arguments = commands.cmd_iter().flat_map(redis::Cmd::args_iter);
    let length = |argument: redis::Arg<&[u8]>| match argument {
        redis::Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    };
    arguments.map(length).sum()
}

/// Sends commands and awaits their replies. A failure says whether they can have reached the server.
async fn query(connection: &mut MultiplexedConnection, commands: &Pipeline) -> Result<Value, (Sent, RedisError)> {
    let deadline = Instant::now() + COMMAND_TIMEOUT + on_the_way(weight(commands));
    let mut query = pin!(commands.query_async::<Value>(connection));
    // Whatever was handed to the socket needs at least one wait for its reply. An I/O error without any
    // wait comes from a connection that was found closed before: nothing was sent.
    match futures_util::poll!(query.as_mut()) {
        Poll::Ready(outcome) => outcome.map_err(|error| {
            let sent = if error.is_io_error() { Sent::No } else { Sent::Maybe };
            (sent, error)
        }),
        Poll::Pending => {
            let late = |_| Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut)));
            let answered = answered_by(deadline, query).await.unwrap_or_else(late);
            answered.map_err(|error| (Sent::Maybe, error))
        }
    }
}
