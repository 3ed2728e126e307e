//! A server that says what a test wants it to say, for answers that a real one gives seldom or never.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::RedisBroker;
use super::connection::resp::{Cursor, Scanner};
use crate::broker::{BrokerOptions, BrokerUrl, Durability, Retention};

/// A server that answers one command after the other with what it was given, and then no more.
pub(super) struct Scripted {
    port: u16,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Self {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::default(),
            connections: Arc::default(),
        };
        let (answers, connections) = (scripted.answers.clone(), scripted.connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(client, answers.clone()));
            }
        });
        scripted
    }

    /// Forgets what was not asked for, and answers the next commands so: `*2 :7 $text | _` is a list of a number and a
    /// text for the first, and nil for the second.
    pub(super) fn answer(&self, answers: &str) {
        *self.answers.lock().unwrap() = answers.split('|').map(encoded).collect();
    }

    /// How often somebody has connected.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn broker(&self, durability: Durability) -> RedisBroker {
        let url = format!("redis://127.0.0.1:{}", self.port).parse().unwrap();
        let BrokerUrl::Redis(info) = url else {
            unreachable!("the address is one of Redis");
        };
        let options = BrokerOptions {
            lease: Duration::from_secs(60),
            durability,
            retention: Retention::default(),
        };
        RedisBroker::new(*info, options)
    }
}

fn encoded(answer: &str) -> Vec<u8> {
    let value = |word: &str| match word.strip_prefix('$') {
        Some(text) => format!("${}\r\n{text}\r\n", text.len()),
        None if word == "_" => "$-1\r\n".to_owned(),
        // An error has more than one word.
        None => format!("{}\r\n", word.replace('~', " ")),
    };
    answer.split_whitespace().map(value).collect::<String>().into_bytes()
}

async fn serve(mut client: TcpStream, answers: Arc<Mutex<VecDeque<Vec<u8>>>>) {
    let mut incoming = BytesMut::new();
    while client.read_buf(&mut incoming).await.is_ok_and(|count| count > 0) {
        // A command has the form of an answer: a list of strings.
        while let Some(end) = Scanner::new(1).scan(&incoming).unwrap() {
            let mut command = Cursor::new(incoming.split_to(end).freeze());
            command.list();
            let answer = match command.text().unwrap().as_ref() {
                // The library says who it is.
                b"CLIENT" => Some(b"+OK\r\n".to_vec()),
                _ => answers.lock().unwrap().pop_front(),
            };
            let Some(answer) = answer else { return };
            if client.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
