//! NATS request/reply: one subject, workers in a queue group. The client muxes all replies onto one inbox and writes
//! whatever piled up at once, by itself.

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::front::Ask;
use crate::weather::Weather;
use crate::{BoxError, CONCURRENCY};

const SUBJECT: &str = "weather";

#[derive(Clone)]
pub(crate) struct Asker(Client);

impl Asker {
    pub(crate) async fn connect(server: &str) -> Result<Self, BoxError> {
        Ok(Self(connect(server).await?))
    }
}

impl Ask for Asker {
    async fn ask(&self, question: Bytes) -> Result<Bytes, BoxError> {
        Ok(self.0.request(SUBJECT, question).await?.payload)
    }
}

/// Answers questions until the connection is lost for good.
pub(crate) async fn work(server: &str) -> Result<(), BoxError> {
    let client = connect(server).await?;
    let weather = Weather::new();
    let questions = client.queue_subscribe(SUBJECT, "workers".to_owned()).await?;
    questions
        .for_each_concurrent(CONCURRENCY, async |question| {
            let answer = weather.answer(question.payload).await;
            if let Some(reply_to) = question.reply
                && let Err(error) = client.publish(reply_to, answer).await
            {
                eprintln!("could not reply: {error}");
            }
        })
        .await;
    Err("the subscription ended".into())
}

/// A connection with the client's defaults: they are made for throughput.
pub(crate) async fn connect(server: &str) -> Result<Client, BoxError> {
    Ok(ConnectOptions::new().connect(server).await?)
}
