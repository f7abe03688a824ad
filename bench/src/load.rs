//! The load: so many clients, each of which asks again as soon as it has its answer, over a connection that it keeps.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What a load came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// The time from question to answer, sorted.
    pub(crate) latencies: Vec<Duration>,
}

impl Done {
    /// The latency that so many of a hundred stay below.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Asks for `time`, after a tenth of it as warm-up.
pub(crate) async fn closed_loop(address: &str, request: &str, clients: usize, time: Duration) -> Result<Done> {
    let begun = Instant::now();
    let (from, until) = (begun + time / 10, begun + time + time / 10);
    let clients = (0..clients).map(|_| client(address, request, from, until));
    let mut latencies: Vec<Duration> = try_join_all(clients).await?.into_iter().flatten().collect();
    latencies.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "no load has 2^52 answers")]
    let rate = latencies.len() as f64 / time.as_secs_f64();
    Ok(Done { rate, latencies })
}

async fn client(address: &str, request: &str, from: Instant, until: Instant) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return Ok(latencies);
        }
        stream.get_mut().write_all(request.as_bytes()).await?;
        answer(&mut stream).await?;
        let answered = Instant::now();
        if asked >= from && answered < until {
            latencies.push(answered - asked);
        }
    }
}

async fn answer(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if line.split(' ').nth(1) != Some("200") {
        bail!("get an answer: `{}`", line.trim_end());
    }
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("read the length of an answer")?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(())
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_latencies() {
        let done = Done { rate: 1.0, latencies: (1..=10).map(Duration::from_millis).collect() };
        assert_eq!(done.percentile(50), Duration::from_millis(6));
        assert_eq!(done.percentile(99), Duration::from_millis(10));
        assert_eq!(Done { rate: 0.0, latencies: Vec::new() }.percentile(99), Duration::ZERO);
    }
}
