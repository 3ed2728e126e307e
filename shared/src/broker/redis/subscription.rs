//! Changes of records, over one subscription for the whole process.
//! <https://redis.io/docs/latest/develop/pubsub/>

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{Stream, StreamExt};
use redis::{Client, Msg};
use tokio::time::timeout;

use super::errors::{Sent, broker_error};
use super::keys::Keys;
use crate::broker::redis::connection::shared::{CONNECT_TIMEOUT, Link};
use crate::broker::{BrokerError, BrokerErrorKind, Change, Changes};
use crate::message::CorrelationId;

const SUBSCRIBE: &str = "subscribe to changes";

/// The most changes handed out at once.
const MAX_BATCH: usize = 1024;

type Messages = Pin<Box<dyn Stream<Item = Msg> + Send>>;

pub(super) struct RedisChanges {
    link: Link,
    keys: Arc<Keys>,
    messages: Option<Messages>,
}

impl RedisChanges {
    pub(super) fn new(link: Link, keys: Arc<Keys>) -> Self {
        Self {
            link,
            keys,
            messages: None,
        }
    }
}

async fn subscribe(link: &Link, keys: &Keys) -> Result<Messages, BrokerError> {
    let failed = |error| broker_error(SUBSCRIBE, Sent::No, error);
    let [.., channel, _] = keys.records();
    let client = Client::open(link.info().clone()).map_err(failed)?;
    let subscribed = async {
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(connection.into_on_message())
    };
    match timeout(2 * CONNECT_TIMEOUT, subscribed).await {
        Ok(subscribed) => Ok(Box::pin(subscribed.map_err(failed)?)),
        Err(elapsed) => Err(BrokerError::new(BrokerErrorKind::Unavailable, SUBSCRIBE, elapsed)),
    }
}

#[async_trait]
impl Changes for RedisChanges {
    async fn next(&mut self) -> Result<Vec<Change>, BrokerError> {
        let Some(messages) = &mut self.messages else {
            self.messages = Some(subscribe(&self.link, &self.keys).await?);
            return Ok(vec![Change::Missed]);
        };
        let mut ready = messages.as_mut().ready_chunks(MAX_BATCH);
        match ready.next().await {
            Some(batch) => Ok(batch
                .iter()
                .filter_map(|message| read(message.get_payload_bytes()))
                .collect()),
            None => {
                self.messages = None;
                let cause = "the connection was closed";
                Err(BrokerError::new(BrokerErrorKind::Unavailable, SUBSCRIBE, cause))
            }
        }
    }
}

/// `record <id>` or `cancel <id>`; what is neither is not for us.
fn read(message: &[u8]) -> Option<Change> {
    let id = |text: &[u8]| CorrelationId::parse(text);
    if let Some(text) = message.strip_prefix(b"record ") {
        return id(text).map(Change::Record);
    }
    message.strip_prefix(b"cancel ").and_then(id).map(Change::Cancel)
}
