//! The outside world of a test: an HTTP server that counts what reaches it and answers as it is told to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::message::{self, Sender};
use crate::wait::until;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// `GET`, `POST`, ….
    pub method: String,
    /// The path with the query, as it was sent.
    pub path: String,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header by its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        message::header(&self.headers, name)
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this status and body.
    Reply(u16, String),
    /// With 302 and this location.
    Redirect(String),
    /// Not at all: the connection is closed.
    Drop,
    /// As the second says, when the gate is open.
    Held(Gate, Box<Answer>),
}

impl Answer {
    /// 200 with this JSON.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        Self::Reply(200, value.to_string())
    }

    /// Only when the gate is open.
    #[must_use]
    pub fn held_by(self, gate: &Gate) -> Self {
        Self::Held(gate.clone(), Box::new(self))
    }
}

/// What holds answers back until a test opens it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens it for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn wait(&self) {
        // The sender is in `self`, so the channel is open.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

type Script = dyn Fn(&Received, &[Received]) -> Answer + Send + Sync;

/// A server (lifetime: one test).
pub struct Outside {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    /// How many connections are open.
    open: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Outside {
    /// A server that answers everything with 200 and an empty JSON object.
    pub async fn start() -> Self {
        Self::answering(|_, _| Answer::Reply(200, "{}".into())).await
    }

    /// A server that gives every request this answer, once the gate is open.
    pub async fn held(answer: Answer) -> (Self, Gate) {
        let gate = Gate::closed();
        let answer = answer.held_by(&gate);
        (Self::answering(move |_, _| answer.clone()).await, gate)
    }

    /// A server that answers each request as the script says, which is given the request and all that came before it.
    pub async fn answering(script: impl Fn(&Received, &[Received]) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    /// The same at an address of this machine; all of 127.0.0.0/8 is.
    pub async fn at(
        address: SocketAddr,
        script: impl Fn(&Received, &[Received]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let (count, open) = watch::channel(0);
        let task = tokio::spawn(serve(listener, received.clone(), Arc::new(script), count));
        Self { address, received, open, task }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has arrived so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.received).clone()
    }

    /// How many requests have arrived so far of which this holds.
    pub fn count(&self, which: impl Fn(&Received) -> bool) -> usize {
        lock(&self.received).iter().filter(|received| which(received)).count()
    }

    /// Forgets everything that has arrived.
    pub fn clear(&self) {
        lock(&self.received).clear();
    }

    /// Returns when everything that a dead client has sent has been looked at.
    ///
    /// # Panics
    /// If an answer is still held back.
    pub async fn settle(&self) {
        // Connections are accepted in their order: when this one is at its end, all earlier ones have been accepted.
        let mut last = TcpStream::connect(self.address).await.expect("the outside is there");
        last.shutdown().await.expect("the outside is there");
        last.read_to_end(&mut Vec::new()).await.expect("the outside closes the connection");
        let open = self.open.clone();
        until("the outside has answered everything", async || *open.borrow() == 0).await;
    }

    /// Waits until at least `n` requests have arrived.
    ///
    /// # Panics
    /// If they do not come in good time.
    pub async fn wait_for(&self, n: usize) {
        until(&format!("{n} requests arrive outside"), async || lock(&self.received).len() >= n).await;
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(received: &Mutex<Vec<Received>>) -> MutexGuard<'_, Vec<Received>> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    listener: TcpListener,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<Script>,
    open: watch::Sender<usize>,
) {
    // The connections' tasks end with this one.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (received, script, open) = (received.clone(), script.clone(), open.clone());
        open.send_modify(|open| *open += 1);
        connections.spawn(async move {
            // A client that is killed in the middle of a request is what the suite is about, not an error.
            answer_one(stream, &received, &*script).await.ok();
            open.send_modify(|open| *open -= 1);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_one(stream: TcpStream, received: &Mutex<Vec<Received>>, script: &Script) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(message) = message::read(&mut stream, Sender::Client).await? else { return Ok(()) };
    let mut words = message.start.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let request = Received { method, path, headers: message.headers, body: message.body };
    let mut answer = {
        let mut received = lock(received);
        let answer = script(&request, &received);
        received.push(request);
        answer
    };
    loop {
        match answer {
            Answer::Drop => return Ok(()),
            Answer::Held(gate, then) => {
                gate.wait().await;
                answer = *then;
            }
            Answer::Redirect(location) => {
                let head = format!(
                    "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await?;
                return stream.shutdown().await;
            }
            Answer::Reply(status, body) => {
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n"
                );
                stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
                return stream.shutdown().await;
            }
        }
    }
}
