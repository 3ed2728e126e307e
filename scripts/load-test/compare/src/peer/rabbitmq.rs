//! RabbitMQ: persistent messages in a durable queue, confirmed to the front and acknowledged by the worker; replies by
//! [direct reply-to](https://www.rabbitmq.com/docs/direct-reply-to). One connection and one channel a process, as
//! [recommended](https://www.rabbitmq.com/docs/channels), with publishes, confirms and replies all in flight at once.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

use crate::front::Ask;
use crate::pending::Pending;
use crate::weather::Weather;
use crate::{BoxError, CONCURRENCY};

const QUEUE: &str = "weather";
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
const PERSISTENT: u8 = 2;
/// Unacknowledged deliveries at a worker: enough that one is always there while acks travel (100 to 300 are advised).
const PREFETCH: u16 = 256;

#[derive(Clone)]
pub(crate) struct Asker {
    channel: Channel,
    pending: Pending,
}

impl Asker {
    pub(crate) async fn connect(server: &str) -> Result<Self, BoxError> {
        let channel = open(server).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let consume = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let replies = channel
            .basic_consume(DIRECT_REPLY_TO.into(), "".into(), consume, FieldTable::default())
            .await?;
        let pending = Pending::default();
        tokio::spawn(hand_out(replies, pending.clone()));
        Ok(Self { channel, pending })
    }
}

impl Ask for Asker {
    async fn ask(&self, question: Bytes) -> Result<Bytes, BoxError> {
        let waiting = self.pending.register();
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_correlation_id(waiting.id.to_string().into())
            .with_reply_to(DIRECT_REPLY_TO.into());
        let options = BasicPublishOptions::default();
        let confirmed = self
            .channel
            .basic_publish("".into(), QUEUE.into(), options, &question, properties)
            .await?;
        let confirmed = async {
            match confirmed.await?.is_ack() {
                true => Ok(()),
                false => Err(BoxError::from("the question was not accepted")),
            }
        };
        let ((), reply) = future::try_join(confirmed, waiting.reply()).await?;
        Ok(reply)
    }
}

async fn hand_out(mut replies: Consumer, pending: Pending) {
    while let Some(Ok(reply)) = replies.next().await {
        if let Some(id) = reply.properties.correlation_id() {
            pending.answer(id.as_str(), reply.data.into());
        }
    }
    eprintln!("replies ended");
}

/// Answers questions until the connection is lost.
pub(crate) async fn work(server: &str) -> Result<(), BoxError> {
    let channel = open(server).await?;
    let weather = Weather::new();
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let questions = channel
        .basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    questions
        .map(|question| answer(&channel, &weather, question))
        .buffered(CONCURRENCY)
        .try_ready_chunks(CONCURRENCY)
        .map_err(|error| error.1)
        // One acknowledgement covers whatever was answered meanwhile: answers come out in the order of the questions.
        .try_for_each(async |answered: Vec<Acker>| match answered.last() {
            Some(last) => Ok(last.ack(BasicAckOptions { multiple: true }).await.map(drop)?),
            None => Ok(()),
        })
        .await?;
    Err("the consumer ended".into())
}

/// Replies; the acknowledgement is still due. Reply before ack: a crash between them repeats work instead of losing it.
async fn answer(
    channel: &Channel,
    weather: &Weather,
    question: Result<Delivery, lapin::Error>,
) -> Result<Acker, BoxError> {
    let Delivery {
        data,
        properties,
        acker,
        ..
    } = question?;
    let reply_to = properties.reply_to().clone().ok_or("a question has no reply-to")?;
    let id = properties.correlation_id().clone();
    let id = id.ok_or("a question has no correlation id")?;
    let answer = weather.answer(data.into()).await;
    // Not confirmed: nothing stores a reply.
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    channel
        .basic_publish(
            "".into(),
            reply_to,
            options,
            &answer,
            properties.with_correlation_id(id),
        )
        .await?;
    Ok(acker)
}

async fn open(server: &str) -> Result<Channel, BoxError> {
    let connection = Connection::connect(server, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let declare = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), declare, FieldTable::default())
        .await?;
    Ok(channel)
}
