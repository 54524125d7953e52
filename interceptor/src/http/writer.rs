//! Writes to a connection whose peer may stop reading.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes that must be taken within the peer's time.
const PIECE: usize = 64 << 10;

/// Writes and flushes `bytes`. A peer that takes nothing for `patience` is given up, however much it took before.
///
/// # Errors
/// What the connection reports, or [`io::ErrorKind::TimedOut`].
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], patience: Duration) -> io::Result<()> {
    for piece in bytes.chunks(PIECE) {
        timeout(patience, stream.write_all(piece)).await.map_err(|_| stalled())??;
    }
    timeout(patience, stream.flush()).await.map_err(|_| stalled())?
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer has stopped reading")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (mut near, _far) = tokio::io::duplex(1 << 10);
        let error = write(&mut near, &[0; 2 << 10], Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_peer_is_waited_for() {
        let (mut near, mut far) = tokio::io::duplex(PIECE);
        let reader = tokio::spawn(async move {
            let mut taken = 0;
            let mut piece = vec![0; PIECE];
            while taken < 4 * PIECE {
                tokio::time::sleep(Duration::from_millis(5)).await;
                taken += tokio::io::AsyncReadExt::read(&mut far, &mut piece).await.unwrap();
            }
        });
        write(&mut near, &vec![0; 4 * PIECE], Duration::from_secs(60)).await.unwrap();
        reader.await.unwrap();
    }
}
