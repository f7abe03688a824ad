//! A connection on which a test sends what no client would.

use dbos_host_tests::{Host, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a host. It is closed when this is dropped.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(host: &Host) -> Self {
        let place = host.url("").trim_start_matches("http://").to_owned();
        Self(TcpStream::connect(place).await.expect("the host accepts"))
    }

    /// Sends bytes and reads nothing.
    pub(crate) async fn send(mut self, text: &str) -> Self {
        self.0.write_all(text.as_bytes()).await.expect("the host reads");
        self
    }

    /// Sends bytes and reads one answer, which must have a length.
    pub(crate) async fn ask(mut self, text: &str) -> Reply {
        // A host that has heard enough may answer and close before everything is sent; the answer is what counts.
        let _ = self.0.write_all(text.as_bytes()).await;
        Reply::read(&mut self.0).await.expect("the host answers")
    }

    /// Returns what the host has sent when it has closed the connection.
    pub(crate) async fn closed(mut self) -> String {
        let mut bytes = Vec::new();
        // An error is a way of closing too.
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
