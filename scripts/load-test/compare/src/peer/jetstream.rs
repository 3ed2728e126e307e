//! A JetStream work queue: the question is in a stream on disk before its publish is acknowledged, and leaves it when
//! the worker has acknowledged it. Replies go over core NATS to one inbox per front, which the question names.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config as PullConfig;
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::stream::{Config as StreamConfig, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, HeaderMap, HeaderName};
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};

use crate::front::Ask;
use crate::nats::connect;
use crate::pending::Pending;
use crate::weather::Weather;
use crate::{BoxError, CONCURRENCY};

const STREAM: &str = "weather";
const SUBJECT: &str = "weather.questions";
const REPLY_TO: HeaderName = HeaderName::from_static("Reply-To");
/// Messages of one pull request: the client's default. It asks for more when half of them are left.
const BATCH: usize = 200;
/// Pull requests in flight beside each other, so that the server always has one to fill.
const PULLS: usize = 4;

#[derive(Clone)]
pub(crate) struct Asker {
    context: Context,
    inbox: String,
    pending: Pending,
}

impl Asker {
    pub(crate) async fn connect(server: &str) -> Result<Self, BoxError> {
        let client = connect(server).await?;
        let inbox = client.new_inbox();
        let pending = Pending::default();
        let replies = client.subscribe(format!("{inbox}.*")).await?;
        let answered = pending.clone();
        tokio::spawn(replies.for_each(move |reply| {
            if let Some((_, id)) = reply.subject.rsplit_once('.') {
                answered.answer(id, reply.payload);
            }
            future::ready(())
        }));
        let context = jetstream::new(client);
        open(&context).await?;
        Ok(Self {
            context,
            inbox,
            pending,
        })
    }
}

impl Ask for Asker {
    async fn ask(&self, question: Bytes) -> Result<Bytes, BoxError> {
        let waiting = self.pending.register();
        let mut headers = HeaderMap::new();
        headers.insert(REPLY_TO, format!("{}.{}", self.inbox, waiting.id).as_str());
        let stored = self.context.publish_with_headers(SUBJECT, headers, question).await?;
        let stored = async { stored.await.map_err(BoxError::from) };
        let (_, reply) = future::try_join(stored, waiting.reply()).await?;
        Ok(reply)
    }
}

/// Answers questions until pulling fails for good.
pub(crate) async fn work(server: &str) -> Result<(), BoxError> {
    let client = connect(server).await?;
    let weather = Weather::new();
    let stream = open(&jetstream::new(client.clone())).await?;
    let consumer = stream
        .get_or_create_consumer(
            "workers",
            PullConfig {
                durable_name: Some("workers".to_owned()),
                ack_policy: AckPolicy::Explicit,
                ack_wait: Duration::from_secs(30),
                max_ack_pending: (BATCH * PULLS) as i64,
                ..PullConfig::default()
            },
        )
        .await?;
    let mut pulls = Vec::new();
    for _ in 0..PULLS {
        pulls.push(pull(&consumer).await?);
    }
    stream::select_all(pulls)
        .for_each_concurrent(CONCURRENCY, async |question| {
            let outcome = match question {
                Ok(question) => answer(&client, &weather, question).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                eprintln!("could not answer: {error}");
            }
        })
        .await;
    Err("the consumer ended".into())
}

type Questions = stream::BoxStream<'static, Result<Message, BoxError>>;

async fn pull(consumer: &Consumer<PullConfig>) -> Result<Questions, BoxError> {
    let messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    Ok(messages.map(|message| message.map_err(BoxError::from)).boxed())
}

async fn answer(client: &Client, weather: &Weather, question: Message) -> Result<(), BoxError> {
    let (question, acker) = question.split();
    let answer = weather.answer(question.payload).await;
    let headers = question.headers.ok_or("a question has no headers")?;
    let reply_to = headers.get(REPLY_TO).ok_or("a question has no reply-to")?;
    // Reply before ack: a crash here repeats work instead of losing it.
    client.publish(reply_to.as_str().to_owned(), answer).await?;
    acker.ack().await
}

async fn open(context: &Context) -> Result<Stream, BoxError> {
    let config = StreamConfig {
        name: STREAM.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        ..StreamConfig::default()
    };
    Ok(context.get_or_create_stream(config).await?)
}
