//! The log of the kernel programs, into the `log` crate.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, LevelFilter, Log};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Error;

/// How long the thread may take to notice that it is to end.
const WAKE_UP_MS: u8 = 200;

/// The level the programs are loaded with. At less than debug the verifier removes every log call from them.
pub(super) fn level() -> u8 {
    match log::max_level() {
        LevelFilter::Trace => Level::Trace as u8,
        LevelFilter::Debug => Level::Debug as u8,
        _ => 0,
    }
}

/// A thread that forwards what the programs log. It ends when this is dropped. The lines hold ids, ports and counts,
/// never what a connection carries.
pub struct EventLog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EventLog {
    /// None when the log level asks for nothing of it.
    pub(super) fn start(ebpf: &mut Ebpf) -> Result<Option<Self>, Error> {
        if level() == 0 {
            return Ok(None);
        }
        let logger = EbpfLogger::init(ebpf).map_err(|error| Error::Events(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("bpf-log".to_owned())
            .spawn(move || forward(logger, &stopped))
            .map_err(|error| Error::Events(error.to_string()))?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn forward<T: Log>(mut logger: EbpfLogger<T>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(WAKE_UP_MS)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => logger.flush(),
            Err(errno) => {
                log::warn!("the kernel programs' log is lost: poll: {errno}");
                return;
            }
        }
    }
}
