//! The signals the lab acts on, taken one at a time from a descriptor instead of in handlers.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A terminal's signals, what service managers send, and the ends of children.
const TAKEN: [Signal; 5] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD];

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A child ended, stopped or went on.
    Child,
    /// We are asked to end; `from_terminal`: so is every process of the foreground group.
    End {
        /// With which signal.
        signal: Signal,
        /// Whether the terminal's driver sent it.
        from_terminal: bool,
    },
}

/// The descriptor.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// From now on, signals wait here; children inherit that they are blocked.
    pub(crate) fn take() -> Result<Self> {
        let mask: SigSet = TAKEN.into_iter().collect();
        mask.thread_block().context("cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&mask, flags).context("cannot make a signal descriptor")?;
        Ok(Self { descriptor })
    }

    /// The next signal; `None` after `patience`, if that is given.
    pub(crate) fn next(&self, patience: Option<Duration>) -> Result<Option<Event>> {
        let timeout = match patience {
            Some(patience) => PollTimeout::try_from(patience).context("too long a wait")?,
            None => PollTimeout::NONE,
        };
        match poll(&mut [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for signals"),
        }
        let Some(info) = self.descriptor.read_signal().context("cannot read a signal")? else { return Ok(None) };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
        Ok(signal.map(|signal| match signal {
            Signal::SIGCHLD => Event::Child,
            // The kernel's own signals carry no sender. A hangup goes to the session's leader alone.
            signal => Event::End { signal, from_terminal: info.ssi_pid == 0 && signal != Signal::SIGHUP },
        }))
    }
}
