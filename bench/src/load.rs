//! The load: so many clients, each of which asks again as soon as it has its answer, over a connection that it keeps.
//!
//! A generator can lie in three ways. It can be what is slow: so it has a thread of its own that does nothing else, and a
//! load in which that thread was never idle is an error. It can count what was refused: so every answer is compared, its
//! status and its body, and the first that differs ends the bench. It can forget what it did not like: so all answers are
//! counted, those of the warm-up too, for whoever compares them with the database.
//!
//! This module must not know what is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer of the bench has some hundred bytes; more than this is no answer of it.
const MOST_BYTES: usize = 64 * 1024;

/// How much of an answer that was not expected is shown.
const SHOWN: usize = 300;

/// How long a load lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After a warm-up, which is not counted, and the time that is.
    Time { warm_up: Duration, time: Duration },
    /// After so many answers; without a warm-up.
    Answers(usize),
}

/// What is asked, and what must come back.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    wire: String,
    answer: String,
}

impl Question {
    /// Starts a workflow without arguments and waits for its result.
    pub(crate) fn workflow(name: &str, result: &str) -> Self {
        Self::new("POST", &format!("/workflows/{name}"), "{}", result)
    }

    /// Asks for a route.
    pub(crate) fn get(path: &str, answer: &str) -> Self {
        Self::new("GET", path, "", answer)
    }

    fn new(method: &str, path: &str, body: &str, answer: &str) -> Self {
        let length = body.len();
        let wire = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        Self { wire, answer: answer.to_owned() }
    }
}

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// Answers in a second, without the warm-up.
    pub(crate) rate: f64,
    /// The time from question to answer, sorted, without the warm-up.
    pub(crate) latencies: Vec<Duration>,
    /// All answers.
    pub(crate) answers: usize,
}

impl Done {
    /// The median latency, and the one that 99 of 100 stay below, in milliseconds.
    pub(crate) fn p50_and_p99(&self) -> (f64, f64) {
        (self.percentile_ms(50), self.percentile_ms(99))
    }

    /// The latency that so many of a hundred stay below, in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3
    }
}

/// Asks from a thread of its own.
pub(crate) async fn closed_loop(address: &str, question: &Question, clients: usize, until: Until) -> Result<Done> {
    let (address, question) = (address.to_owned(), question.clone());
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(all_clients(&address, &question, clients, until))
    });
    thread.await.context("generate a load")?
}

async fn all_clients(address: &str, question: &Question, clients: usize, until: Until) -> Result<Done> {
    // They connect first: the accept queue of a server is no part of what is measured.
    let connections = try_join_all((0..clients).map(|_| Connection::to(address))).await?;
    let begun = Instant::now();
    let plan = match until {
        Until::Time { warm_up, time } => {
            Plan { from: begun + warm_up, until: Some(begun + warm_up + time), left: None }
        }
        Until::Answers(count) => Plan { from: begun, until: None, left: Some(Arc::new(AtomicUsize::new(count))) },
    };
    let clients = connections.into_iter().map(|connection| client(connection, question, &plan));
    let clients = try_join_all(clients).await?;
    let window = match until {
        Until::Time { time, .. } => time,
        Until::Answers(_) => begun.elapsed(),
    };
    let answers = clients.iter().map(|client| client.answers).sum();
    let mut latencies: Vec<Duration> = clients.into_iter().flat_map(|client| client.latencies).collect();
    if latencies.is_empty() {
        bail!("get an answer in the {window:?} of a load: none came");
    }
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 answers")]
    let rate = latencies.len() as f64 / window.as_secs_f64();
    Ok(Done { rate, latencies, answers })
}

struct Plan {
    /// The end of the warm-up.
    from: Instant,
    until: Option<Instant>,
    /// How many questions are still to be asked.
    left: Option<Arc<AtomicUsize>>,
}

impl Plan {
    fn may_ask(&self, now: Instant) -> bool {
        let in_time = self.until.is_none_or(|until| now < until);
        let take_one = |left: &Arc<AtomicUsize>| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        };
        in_time && self.left.as_ref().is_none_or(take_one)
    }

    /// An answer counts by when it comes, not by when it was asked for: what lies across the beginning of the time makes
    /// up for what lies across its end, or slow answers would be counted as fewer than there are.
    fn counts(&self, answered: Instant) -> bool {
        answered >= self.from && self.until.is_none_or(|until| answered < until)
    }
}

struct Client {
    latencies: Vec<Duration>,
    answers: usize,
}

async fn client(mut connection: Connection, question: &Question, plan: &Plan) -> Result<Client> {
    let mut client = Client { latencies: Vec::new(), answers: 0 };
    loop {
        let asked = Instant::now();
        if !plan.may_ask(asked) {
            return Ok(client);
        }
        connection.ask(question).await?;
        let answered = Instant::now();
        client.answers += 1;
        if plan.counts(answered) {
            client.latencies.push(answered - asked);
        }
    }
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    async fn to(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(1024) })
    }

    async fn ask(&mut self, question: &Question) -> Result<()> {
        self.stream.write_all(question.wire.as_bytes()).await?;
        self.received.clear();
        loop {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("get an answer: the connection was closed");
            }
            if self.received.len() > MOST_BYTES {
                bail!("get an answer of less than {MOST_BYTES} bytes");
            }
            if let Some(answer) = Answer::parse(&self.received)? {
                return answer.is(200, &question.answer);
            }
        }
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    status: u16,
    body: &'a str,
}

impl<'a> Answer<'a> {
    /// `None`: the rest of it has not come yet.
    fn parse(received: &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&received[..end]).context("read the head of an answer")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).context("read a status")?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = length.context("find the length of an answer")?.context("read the length of an answer")?;
        let body = &received[end + 4..];
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => {
                Ok(Some(Self { status, body: std::str::from_utf8(body).context("read an answer")? }))
            }
            std::cmp::Ordering::Greater => bail!("get one answer for one question: there is more behind it"),
        }
    }

    fn is(&self, status: u16, body: &str) -> Result<()> {
        if self.status == status && self.body == body {
            return Ok(());
        }
        let shown: String = self.body.chars().take(SHOWN).collect();
        bail!("get the answer {status} `{body}`: it was {} `{shown}`", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_latencies() {
        let done = |latencies| Done { rate: 1.0, latencies, answers: 0 };
        let ten = done((1..=10).map(Duration::from_millis).collect());
        assert_eq!((ten.percentile_ms(50), ten.percentile_ms(99)), (6.0, 10.0));
        assert_eq!(done(Vec::new()).percentile_ms(99), 0.0);
    }

    #[test]
    fn an_answer_is_taken_when_all_of_it_has_come() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ndate: x\r\n\r\n55";
        for part in 0..whole.len() {
            assert_eq!(Answer::parse(&whole[..part]).unwrap(), None, "{part}");
        }
        assert_eq!(Answer::parse(whole).unwrap().unwrap(), Answer { status: 200, body: "55" });
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n55").is_err());
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn an_answer_counts_only_if_it_is_the_right_one() {
        let answer = Answer { status: 200, body: "55" };
        assert!(answer.is(200, "55").is_ok());
        assert!(answer.is(200, "56").is_err());
        let busy = Answer { status: 503, body: "too_busy" };
        assert_eq!(busy.is(200, "55").unwrap_err().to_string(), "get the answer 200 `55`: it was 503 `too_busy`");
    }

    #[test]
    fn a_counted_load_asks_as_often_as_it_should() {
        let now = Instant::now();
        let plan = Plan { from: now, until: None, left: Some(Arc::new(AtomicUsize::new(2))) };
        assert_eq!([(); 4].map(|()| plan.may_ask(now)), [true, true, false, false]);
    }

    #[test]
    fn an_answer_counts_when_it_comes_in_the_time() {
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        let plan = Plan { from: at(10), until: Some(at(20)), left: None };
        assert_eq!([5, 15, 25].map(|seconds| plan.counts(at(seconds))), [false, true, false]);
        assert_eq!([5, 15, 25].map(|seconds| plan.may_ask(at(seconds))), [true, true, false]);
    }
}
