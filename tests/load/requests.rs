//! Requests as fast as they are answered.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::client::{Client, NAME};
use crate::daemon::Daemon;

/// What is not counted: handshakes, leaves, first pages of the log.
const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) async fn run(connections: u64, seconds: u64, bytes: u64) -> Result<Value> {
    LocalSet::new().run_until(load(connections, Duration::from_secs(seconds), bytes)).await
}

async fn load(connections: u64, time: Duration, bytes: u64) -> Result<Value> {
    let client = Client::new()?;
    let daemon = Daemon::find()?;
    let request: Rc<[u8]> = request(usize::try_from(bytes)?).into();
    let start = Instant::now() + WARM_UP;
    let end = start + time;
    let mut busy = JoinSet::new();
    for _ in 0..connections {
        busy.spawn_local(one(client.clone(), Rc::clone(&request), start, end));
    }
    tokio::time::sleep_until(start.into()).await;
    let cpu = daemon.cpu_us()?;
    tokio::time::sleep_until(end.into()).await;
    let cpu = daemon.cpu_us()? - cpu;
    let mut latencies = Vec::new();
    while let Some(done) = busy.join_next().await {
        latencies.extend(done??);
    }
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |percent: usize| latencies.get(count * percent / 100).copied();
    Ok(json!({
        "requests": count,
        "seconds": time.as_secs(),
        "median_us": at(50),
        "p99_us": at(99),
        "daemon_cpu_us": cpu,
    }))
}

/// One connection: microseconds of each request that began and ended in time.
async fn one(client: Client, request: Rc<[u8]>, start: Instant, end: Instant) -> Result<Vec<u64>> {
    let mut connection = client.connect().await?;
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        connection.send(&request).await?;
        let status = connection.response().await?;
        ensure!(status == 200, "status {status}");
        let now = Instant::now();
        if now >= end {
            return Ok(latencies);
        }
        if sent >= start {
            latencies.push(u64::try_from((now - sent).as_micros())?);
        }
    }
}

/// A chat with about one value to mask in a kilobyte.
fn request(bytes: usize) -> Vec<u8> {
    const TEXT: &str = "The meeting about the quarterly report was moved to the large room on the second floor, because \
                        the projector in the small one does not work. Please bring the printed figures, and the notes \
                        about the migration: what was planned, what was done, and what is still open. ";
    let mut content = String::new();
    while content.len() < bytes {
        if content.len() % 1024 < TEXT.len() {
            content.push_str("Write to jane.doe@corp.example about it. ");
        }
        content.push_str(TEXT);
    }
    content.truncate(bytes);
    let body = json!({ "model": "test-model", "max_tokens": 64, "messages": [{ "role": "user", "content": content }] });
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}
