//! A connection of the daemon's own, through the kernel programs and back to one of its workers.
//!
//! It goes to an address where nobody can listen and lacks the daemon's mark, so it arrives only when the programs
//! redirect it, the flow record is found, and a worker runs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use interceptor_ebpf::{Address, CANARY_PORT, CANARY_V4, CANARY_V6};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::status::Canary;
use crate::proxy::CANARY_ANSWER;

/// How long the way through the host's own loopback may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries both address families.
pub(super) async fn canaries() -> (Canary, Canary) {
    tokio::join!(canary(CANARY_V4), canary(CANARY_V6))
}

async fn canary(to: Address) -> Canary {
    let to = SocketAddr::new(IpAddr::from(to), CANARY_PORT);
    match timeout(PATIENCE, ask(to)).await {
        Ok(Ok(())) => Canary::Answered,
        Ok(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
            Canary::Failed(format!("a program that is not ours refuses connections ({e})"))
        }
        Ok(Err(e)) => Canary::Failed(e.to_string()),
        Err(_) => Canary::Failed(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}

async fn ask(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    let mut answer = [0; CANARY_ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    if answer == *CANARY_ANSWER {
        return Ok(());
    }
    Err(io::Error::other("something else than this daemon answered"))
}
