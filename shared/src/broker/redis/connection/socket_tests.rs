#![allow(clippy::unwrap_used)]

use tokio::io::DuplexStream;
use tokio::time::sleep;

use super::*;

const MIB: usize = 1024 * 1024;

/// A server that announces `length` bytes and sends them in pieces, a pause before each.
async fn send(mut server: DuplexStream, length: usize, piece: usize, pause: Duration) {
    let head = format!("*2\r\n$3\r\n1-0\r\n${length}\r\n");
    server.write_all(head.as_bytes()).await.unwrap();
    let data = vec![b'7'; piece];
    for _ in 0..length / piece {
        sleep(pause).await;
        if server.write_all(&data).await.is_err() {
            return;
        }
    }
    server.write_all(b"\r\n").await.unwrap();
    sleep(Duration::from_secs(3600)).await;
}

async fn read(length: usize, piece: usize, pause: Duration) -> Result<Cursor, Unanswered> {
    let (client, server) = tokio::io::duplex(64 * MIB);
    tokio::spawn(send(server, length, piece, pause));
    let mut socket = Socket {
        stream: Box::new(client),
        incoming: BytesMut::new(),
    };
    let mut commands = Commands::default();
    commands.begin(1).arg("PING");
    let terms = Terms {
        patience: Duration::from_millis(500),
        limit: 32 * MIB,
    };
    let (answer, error) = socket.exchange(&commands, terms).await?;
    assert!(error.is_none());
    assert!(
        socket.incoming.capacity() <= KEEP_BUFFER,
        "the next answer has a buffer of its own"
    );
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn what_is_large_has_the_time_it_takes() {
    let mut answer = read(20 * MIB, MIB, Duration::from_millis(200)).await.unwrap();
    assert_eq!((answer.list(), answer.text()), (Some(2), Some("1-0".into())));
    assert_eq!(answer.text().unwrap().len(), 20 * MIB);
}

#[tokio::test(start_paused = true)]
async fn what_hardly_moves_is_given_up_with_what_there_is_of_it() {
    let started = Instant::now();
    let Err(Unanswered::Cut(mut cut)) = read(20 * MIB, MIB, Duration::from_secs(1)).await else {
        panic!("it came too slowly");
    };
    assert!(!cut.too_large && started.elapsed() < Duration::from_secs(2), "{cut:?}");
    assert_eq!((cut.head.list(), cut.head.text()), (Some(2), Some("1-0".into())));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_given_up_before_it_arrives() {
    let Err(Unanswered::Cut(cut)) = read(33 * MIB, MIB, Duration::ZERO).await else {
        panic!("it is too large");
    };
    assert!(cut.too_large && cut.head.length() < MIB, "{} bytes", cut.head.length());
}
