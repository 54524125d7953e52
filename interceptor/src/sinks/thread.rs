//! What the threads of sinks and witnesses have in common: a runtime each, and an end when the daemon wants one.

use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::sys::yield_to_others;

/// When the daemon wants to end, if it does: until then a thread may finish what it is at.
pub(super) type Stop = watch::Receiver<Option<std::time::Instant>>;

/// Does the work of `who` on this thread, until it is done or the daemon has waited long enough.
pub(super) fn run(who: &str, stop: Stop, work: impl AsyncFnOnce(Stop)) {
    yield_to_others();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return log::error!("{who}: cannot run: {error}"),
    };
    runtime.block_on(async {
        let mut deadline = stop.clone();
        tokio::select! {
            () = work(stop) => {}
            () = passed(&mut deadline) => {}
        }
    });
    // A look-up of a name that hangs must not keep the daemon.
    runtime.shutdown_background();
}

/// Done when the daemon wants to end.
pub(super) async fn stopping(stop: &mut Stop) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // Nobody is there any more who could say so.
        std::future::pending::<()>().await;
    }
}

/// Done when the daemon has waited long enough.
async fn passed(stop: &mut Stop) {
    stopping(stop).await;
    let deadline = *stop.borrow();
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}
