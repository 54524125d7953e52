//! The answer to the daemon's own self-test.

use tokio::io::AsyncWriteExt;

use super::worker::Worker;
use crate::capture::Flow;
use crate::sys::Stream;

/// What a worker says to a connection that was redirected for the sake of testing just that.
pub const CANARY_ANSWER: &[u8; 16] = b"interceptor-ok\r\n";

/// Tells the self-test that its connection came all the way: as far as to where others wait for their callers' names.
/// Hangs up when that is too long.
pub(super) async fn answer(worker: &Worker, flow: &Flow, mut stream: Stream) {
    if !worker.shared.callers.are_named(flow.uid).await {
        return log::warn!("the self-test is not answered: the threads that name callers are all kept waiting");
    }
    let said = async {
        stream.write_all(CANARY_ANSWER).await?;
        stream.shutdown().await
    };
    if let Err(e) = said.await {
        log::debug!("the self-test hung up: {e}");
    }
}
