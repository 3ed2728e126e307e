//! A small client for what is asked of Redis beside the services: commands in pipelines, replies without arrays.
//! Protocol: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

/// A reply that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A simple or a bulk string.
    Text(String),
    /// A number.
    Integer(u64),
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// One command and its reply.
    pub(crate) async fn run(&mut self, arguments: &[&str]) -> Result<Reply, String> {
        let mut commands = Vec::new();
        encode(&mut commands, arguments);
        let failed = |error| format!("could not run {} on redis: {error}", arguments[0]);
        self.send(&commands).await.map_err(failed)?;
        self.reply().await.map_err(failed)
    }

    /// Encoded commands, and `count` replies of which none may be an error.
    pub(crate) async fn pipeline(&mut self, commands: &[u8], count: usize) -> Result<(), String> {
        let failed = |error| format!("could not run a pipeline on redis: {error}");
        self.send(commands).await.map_err(failed)?;
        for _ in 0..count {
            self.reply().await.map_err(failed)?;
        }
        Ok(())
    }

    /// How many entries a stream has.
    pub(crate) async fn length(&mut self, stream: &str) -> Result<u64, String> {
        match self.run(&["XLEN", stream]).await? {
            Reply::Integer(length) => Ok(length),
            Reply::Text(text) => Err(format!("the length of stream {stream:?} is {text:?}")),
        }
    }

    /// The CPU time of the server, to the microsecond: finer than /proc has it.
    pub(crate) async fn cpu(&mut self) -> Result<Duration, String> {
        let info = self.info("cpu").await?;
        let seconds = field(&info, "used_cpu_user")? + field(&info, "used_cpu_sys")?;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// What the server has allocated, in bytes.
    pub(crate) async fn used_memory(&mut self) -> Result<f64, String> {
        field(&self.info("memory").await?, "used_memory")
    }

    async fn info(&mut self, section: &str) -> Result<String, String> {
        match self.run(&["INFO", section]).await? {
            Reply::Text(text) => Ok(text),
            Reply::Integer(_) => Err("INFO is no text".to_owned()),
        }
    }

    async fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.0.write_all(commands).await?;
        self.0.flush().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let unexpected = || io::Error::other(format!("unexpected reply {line:?}"));
        let rest = line.get(1..).ok_or(io::ErrorKind::UnexpectedEof)?.trim_end();
        match line.as_bytes()[0] {
            b'+' => Ok(Reply::Text(rest.to_owned())),
            b':' => Ok(Reply::Integer(rest.parse().map_err(|_| unexpected())?)),
            b'$' => {
                let length: usize = rest.parse().map_err(|_| unexpected())?;
                let mut text = vec![0; length + 2];
                self.0.read_exact(&mut text).await?;
                text.truncate(length);
                Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
            }
            _ => Err(unexpected()),
        }
    }
}

/// Appends a command.
pub(crate) fn encode(commands: &mut Vec<u8>, arguments: &[&str]) {
    commands.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        commands.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
    }
}

fn field(info: &str, name: &str) -> Result<f64, String> {
    let mut fields = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    let value = fields.find_map(|(field, value)| (field == name).then(|| value.parse().ok()));
    value.flatten().ok_or_else(|| format!("INFO has no number {name}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_command_is_an_array_of_strings_with_their_lengths_in_bytes() {
        let mut commands = Vec::new();
        encode(&mut commands, &["XLEN", "é"]);
        assert_eq!(commands, "*2\r\n$4\r\nXLEN\r\n$2\r\né\r\n".as_bytes());
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# CPU\r\nused_cpu_sys_children:9\r\nused_cpu_sys:1.25\r\n";
        assert_eq!(field(info, "used_cpu_sys"), Ok(1.25));
        assert!(field(info, "used_cpu_user").unwrap_err().contains("used_cpu_user"));
    }

    #[tokio::test]
    async fn replies_are_read_one_by_one_and_errors_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server
            .write_all(b"+OK\r\n:7\r\n$4\r\na\r\nb\r\n-ERR no\r\n")
            .await
            .unwrap();
        drop(server);
        assert_eq!(client.reply().await.unwrap(), Reply::Text("OK".to_owned()));
        assert_eq!(client.reply().await.unwrap(), Reply::Integer(7));
        assert_eq!(client.reply().await.unwrap(), Reply::Text("a\r\nb".to_owned()));
        assert!(client.reply().await.unwrap_err().to_string().contains("ERR no"));
        assert!(client.reply().await.is_err());
    }
}
