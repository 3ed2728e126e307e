//! What a person is told who starts the whole of Roundtrip in one process, with memory://.

use std::net::SocketAddr;

/// Tells a person what to do with it.
#[allow(clippy::print_stdout)] // This is for people, not for logs.
pub(crate) fn greet(address: SocketAddr, example: &str) {
    let host = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        ip => ip.to_string(),
    };
    let url = format!("http://{host}:{}", address.port());
    println!(
        "
Roundtrip is up, with its workers inside (memory://: nothing is kept over a restart).

  Swagger   {url}/swagger
  Try it    curl -s {url}{example}
  On Redis  BROKER_URL=redis://127.0.0.1:6379 cargo run --release                       # this service, as often as you like
            BROKER_URL=redis://127.0.0.1:6379 cargo run --release -p proxy-service      # its workers, as often as you like
  Stop      Ctrl-C: what is in flight is answered first
"
    );
}
