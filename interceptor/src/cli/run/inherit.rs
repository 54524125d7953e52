//! What this process gets from the one before it: through the service manager after a restart, from itself in an
//! upgrade.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use interceptor_ebpf::ABI;
use nix::sys::socket::{getsockopt, sockopt};

use super::Failure;
use crate::audit::{self, Log};
use crate::capture::{Listening, NetnsCookie};
use crate::config::{Config, StatePaths};
use crate::daemon::handover::{Facts, Inherited, Offer, ToPredecessor};
use crate::sys::service;

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    sockets: Vec<Inherited>,
    hold: Option<OwnedFd>,
    predecessor: Option<Predecessor>,
}

/// The daemon that this one replaces. It goes on when this one fails.
#[derive(Debug)]
struct Predecessor {
    channel: ToPredecessor,
    facts: Facts,
    audit: Option<UnixStream>,
}

/// Sockets that an earlier daemon listened on.
#[derive(Debug)]
pub(super) struct Kept {
    /// In this network namespace; all of one listener.
    pub(super) own: Vec<TcpListener>,
    /// In others.
    pub(super) foreign: Vec<(Listening, Vec<TcpListener>)>,
}

impl Inheritance {
    /// What the service manager kept.
    pub(super) fn of_service() -> Result<Self, Failure> {
        let given = service::inherited().map_err(|e| format!("cannot take what the service manager kept: {e}"))?;
        let mut sockets = Vec::new();
        for (name, descriptor) in given {
            let listens = getsockopt(&descriptor, sockopt::AcceptConn) == Ok(true);
            match Listening::from_name(&name).filter(|_| listens) {
                Some(listening) => sockets.push(Inherited { listening, socket: descriptor.into() }),
                None => log::warn!("the service manager passed {name}, which is no listener of this daemon: closed"),
            }
        }
        Ok(Self { sockets, ..Self::default() })
    }

    /// What the running daemon offers on standard input.
    pub(super) fn of_predecessor() -> Result<Self, Failure> {
        let socket = take_stdin().map_err(|e| format!("cannot take standard input: {e}"))?;
        let (channel, offer) = ToPredecessor::accept(socket).map_err(|e| {
            format!("standard input is not a daemon to be replaced ({e}): --successor is not for people, send the daemon SIGHUP")
        })?;
        let Offer { facts, hold, listeners, audit } = offer;
        log::info!("taking over from process {}", facts.pid);
        let predecessor = Predecessor { channel, facts, audit: Some(audit) };
        Ok(Self { sockets: listeners, hold: Some(hold), predecessor: Some(predecessor) })
    }

    /// What cannot change while connections wait and the audit log goes on.
    pub(super) fn check(&self, config: &Config, paths: &StatePaths) -> Result<(), Failure> {
        let Some(Predecessor { facts: was, .. }) = &self.predecessor else { return Ok(()) };
        let now = facts(config, paths);
        let differences = [
            (was.abi == now.abi, format!("the kernel programs' maps changed from version {} to {}", was.abi, now.abi)),
            (was.port == now.port, format!("listen.port changed from {} to {}", was.port, now.port)),
            (was.pin == now.pin, format!("capture.pin changed from {} to {}", was.pin.display(), now.pin.display())),
            (was.state == now.state, format!("state changed from {} to {}", was.state.display(), now.state.display())),
        ];
        match differences.into_iter().find(|(same, _)| !same) {
            Some((_, what)) => Err(format!("{what}: restart the daemon for that").into()),
            None => Ok(()),
        }
    }

    /// The hold on the pins, once.
    pub(super) fn take_hold(&mut self) -> Option<OwnedFd> {
        self.hold.take()
    }

    /// The listeners of the sockets.
    pub(super) fn listening(&self) -> Vec<Listening> {
        self.sockets.iter().map(|inherited| inherited.listening).collect()
    }

    /// Sorts the sockets; those of listeners that do not stand any more are closed.
    pub(super) fn keep(&mut self, standing: &[Listening], netns: NetnsCookie, port: u16) -> Kept {
        let mut kept = Kept { own: Vec::new(), foreign: Vec::new() };
        for Inherited { listening, socket } in self.sockets.drain(..) {
            let on_port = socket.local_addr().is_ok_and(|local| local.port() == port);
            if !standing.contains(&listening) || !on_port {
                // All of its sockets go.
                service::forget(&listening.name());
            } else if listening.netns == netns {
                kept.own.push(socket);
            } else {
                match kept.foreign.iter_mut().find(|(known, _)| *known == listening) {
                    Some((_, sockets)) => sockets.push(socket),
                    None => kept.foreign.push((listening, vec![socket])),
                }
            }
        }
        kept
    }

    /// Opens the log: in an upgrade, when the predecessor has finished its part of it. Nothing before this must be left
    /// that could fail.
    pub(super) fn open_log(&mut self, settings: audit::Settings) -> Result<Log, Failure> {
        let Some(predecessor) = &mut self.predecessor else { return Ok(Log::open(settings)?) };
        let handed = predecessor.channel.prepared()?;
        let mut log = Log::open_after(settings, handed)?;
        if let Some(stream) = predecessor.audit.take() {
            log.serve(stream)?;
        }
        Ok(log)
    }

    /// Says that this process serves.
    pub(super) fn ready(&self, log: &Log) -> Result<(), Failure> {
        match &self.predecessor {
            // It tells the service manager, which listens to the main process.
            Some(predecessor) => predecessor.channel.ready(log.part_bytes())?,
            None => service::notify(service::Notice::Ready),
        }
        Ok(())
    }

    /// Says that this process gives up.
    pub(super) fn failed(&self, why: &Failure) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.channel.failed(why);
        }
    }
}

/// What a successor cannot change.
pub(super) fn facts(config: &Config, paths: &StatePaths) -> Facts {
    Facts {
        abi: ABI,
        port: config.listen.port,
        pin: config.capture.pin.clone(),
        state: paths.root().to_path_buf(),
        pid: std::process::id(),
    }
}

/// Standard input as it is; /dev/null in its place.
fn take_stdin() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(taken)
}
