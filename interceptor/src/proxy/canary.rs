//! The answer to the daemon's own self-test.

use tokio::io::AsyncWriteExt;

use crate::sys::Stream;

/// What a worker says to a connection that was redirected for the sake of testing just that.
pub const CANARY_ANSWER: &[u8; 16] = b"interceptor-ok\r\n";

/// Tells the self-test that its connection came all the way.
pub(super) async fn answer(mut stream: Stream) {
    let said = async {
        stream.write_all(CANARY_ANSWER).await?;
        stream.shutdown().await
    };
    if let Err(e) = said.await {
        log::debug!("the self-test hung up: {e}");
    }
}
