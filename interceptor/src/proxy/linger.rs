//! Closing a connection whose other side may still be sending.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long the other side may take to notice.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// The most that is thrown away.
const MOST: usize = 256 << 20;

/// Says that nothing more will come, then throws away what the other side still sends, for a moment: it would see a reset
/// instead of what it was sent last if the connection were closed at once (RFC 9112, 9.6).
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let discard = async {
        stream.shutdown().await?;
        let (mut scrap, mut taken) = (vec![0; 16 << 10], 0);
        loop {
            let read = stream.read(&mut scrap).await?;
            taken += read;
            if read == 0 || taken > MOST {
                return io::Result::Ok(());
            }
        }
    };
    let _gone_or_done = timeout(LINGER, discard).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_still_being_sent_is_taken_and_the_last_word_is_heard() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let client = async {
            far.write_all(&[b'x'; 4096]).await.unwrap();
            far.shutdown().await.unwrap();
            let mut heard = Vec::new();
            far.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let server = async {
            near.write_all(b"no").await.unwrap();
            close(&mut near).await;
        };
        let (heard, ()) = tokio::join!(client, server);
        assert_eq!(heard, b"no");
    }
}
