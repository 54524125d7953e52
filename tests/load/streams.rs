//! Streams that say nothing for a while, then all at once, and what the daemon holds for them meanwhile.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Connection, NAME};
use crate::daemon::{Daemon, Held};

/// Handshakes at once.
const OPENING: usize = 64;

/// How long all events may take, and the daemon to notice that clients are gone.
const PATIENCE: Duration = Duration::from_secs(300);

/// Connections to an endpoint that a worker keeps for the next request.
const POOLED: usize = 32;

/// Twice the same: what the first round needed once and keeps is no leak, what the second adds to it would be.
const ROUNDS: usize = 2;

/// The silence of the second round.
const SHORT: Duration = Duration::from_secs(10);

pub(crate) async fn run(count: u64, idle: u64, events: u64) -> Result<Value> {
    LocalSet::new().run_until(rounds(count, Duration::from_secs(idle), events)).await
}

async fn rounds(count: u64, idle: Duration, events: u64) -> Result<Value> {
    let (client, daemon) = (Client::new()?, Daemon::find()?);
    // What every request needs once: leaves, scratch, threads.
    // Read to its end, so that its record says what it was.
    drop(rest(open(&client, &PathBuf::from("/dev/null"), 1, idle).await?).await?);
    let fresh = settled(&daemon, usize::MAX).await?;
    let at_most = fresh.descriptors + POOLED * daemon.workers()?;
    let mut report = Vec::new();
    for round in 0..ROUNDS {
        // The long silence is needed once.
        let idle = if round == 0 { idle } else { idle.min(SHORT) };
        report.push(one_round(&client, &daemon, round, count, idle, events, at_most).await?);
    }
    Ok(json!({ "streams": count, "idle_s": idle.as_secs(), "fresh": fresh.json(), "rounds": report }))
}

async fn one_round(
    client: &Client,
    daemon: &Daemon,
    round: usize,
    count: u64,
    idle: Duration,
    events: u64,
    descriptors: usize,
) -> Result<Value> {
    let state = env::var("INTERCEPTOR_STATE").context("INTERCEPTOR_STATE is not set: run this in the lab")?;
    let go = PathBuf::from(format!("{state}/go-{round}"));
    let before = daemon.held()?;
    let places = Rc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let (client, places, go) = (client.clone(), Rc::clone(&places), go.clone());
        opening.spawn_local(async move {
            let _place = places.acquire().await?;
            open(&client, &go, events, idle).await
        });
    }
    let mut streams = Vec::new();
    while let Some(stream) = opening.join_next().await {
        streams.push(stream??);
    }
    let open = daemon.held()?;
    sleep(idle).await;
    let after_idle = daemon.held()?;
    fs::write(&go, "")?;
    let mut reading = JoinSet::new();
    for stream in streams {
        reading.spawn_local(timeout(PATIENCE, rest(stream)));
    }
    let (mut complete, mut least, mut streams) = (0_u64, u64::MAX, Vec::new());
    while let Some(read) = reading.join_next().await {
        let (stream, seen) = read?.context("the events did not come in time")??;
        // The first one came before the silence.
        least = least.min(seen + 1);
        complete += u64::from(seen + 1 >= events);
        streams.push(stream);
    }
    let after_events = daemon.held()?;
    drop(streams);
    let after_close = settled(daemon, descriptors).await?;
    Ok(json!({
        "complete": complete,
        "least_events": least,
        "before": before.json(),
        "open": open.json(),
        "after_idle": after_idle.json(),
        "after_events": after_events.json(),
        "after_close": after_close.json(),
        "resident_kib_a_stream": per_stream(before.resident_kib, after_idle.resident_kib, count),
        "anonymous_kib_a_stream": per_stream(before.anonymous_kib, after_idle.anonymous_kib, count),
    }))
}

fn per_stream(before: u64, after: u64, count: u64) -> f64 {
    let tenths = after.saturating_sub(before) * 10 / count.max(1);
    // No stream has so many.
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

/// A stream after its first event.
async fn open(client: &Client, hold: &Path, events: u64, idle: Duration) -> Result<Connection> {
    let mut connection = client.connect().await?;
    let body = json!({
        "model": "test-model",
        "stream": true,
        "messages": [{"role": "user", "content": "card 4111 1111 1111 1111, please"}],
    });
    let (body, hold, patience) = (body.to_string(), hold.display(), idle.as_secs() + PATIENCE.as_secs());
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n\
         x-lab-tokens: {events}\r\nx-lab-hold: {hold}\r\nx-lab-patience-s: {patience}\r\nx-lab-delay-ms: 0\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.send((head + &body).as_bytes()).await?;
    let status = connection.line().await?.context("closed instead of an answer")?;
    ensure!(status.starts_with(b"HTTP/1.1 200 "), "{}", status.escape_ascii());
    while let Some(line) = connection.line().await? {
        if speaks(&line) {
            return Ok(connection);
        }
    }
    anyhow::bail!("closed before the first event")
}

/// Reads on to the end; how many events came. The connection stays open.
async fn rest(mut stream: Connection) -> Result<(Connection, u64)> {
    let mut seen = 0;
    while let Some(line) = stream.line().await? {
        seen += u64::from(speaks(&line));
        if line.starts_with(b"data: [DONE]") {
            return Ok((stream, seen));
        }
    }
    anyhow::bail!("closed after {seen} events, before the end")
}

/// An event with a piece of the text.
fn speaks(line: &[u8]) -> bool {
    line.starts_with(b"data: {") && line.windows(10).any(|window| window == b"\"content\":")
}

/// What it holds once it has no more than so many `descriptors`: connections are closed one by one.
async fn settled(daemon: &Daemon, descriptors: usize) -> Result<Held> {
    let waited = timeout(PATIENCE, async {
        loop {
            let held = daemon.held()?;
            if held.descriptors <= descriptors {
                return anyhow::Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.context("the daemon did not close its descriptors")??;
    // The allocator gives memory back a little later.
    sleep(Duration::from_secs(2)).await;
    daemon.held()
}
