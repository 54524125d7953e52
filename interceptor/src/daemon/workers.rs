//! The worker threads, and the sockets they accept from.

use std::net::TcpListener;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Error;
use crate::audit::Log;
use crate::capture::Listening;
use crate::proxy::{Order, Pulse, Shared, Worker};
use crate::sys;
use crate::upstream::Dialer;

/// The worker threads. They end when this is dropped, and their connections with them.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Handle {
    orders: UnboundedSender<Order>,
    pulse: Arc<Pulse>,
}

/// A listener and its sockets, kept so that they can be handed to a successor.
#[derive(Debug)]
pub struct Open {
    /// The listener, as announced to the kernel programs.
    pub listening: Listening,
    /// Its sockets, one a worker and address family; the workers accept from duplicates of them.
    pub sockets: Vec<TcpListener>,
}

impl Workers {
    /// Starts `count` workers. They accept nothing yet: see [`listen`](Self::listen).
    ///
    /// # Errors
    /// When a thread cannot be started, or lacks its scanner or key.
    pub fn start(count: usize, shared: &Arc<Shared>, log: &Log, dialer: &Dialer) -> Result<Self, Error> {
        let handles = (0..count).map(|number| start(format!("worker-{number}"), shared, log, dialer));
        Ok(Self { handles: handles.collect::<Result<_, _>>()?, open: Vec::new() })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// When each was last seen to run.
    #[must_use]
    pub fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.handles.iter().map(|handle| Arc::clone(&handle.pulse)).collect()
    }

    /// Spreads the sockets of a listener over the workers, those of each address family by themselves.
    ///
    /// # Errors
    /// When descriptors run out; nothing is accepted then.
    pub fn listen(&mut self, listening: Listening, sockets: Vec<TcpListener>) -> Result<(), Error> {
        let is_v4 = |socket: &&TcpListener| socket.local_addr().is_ok_and(|address| address.is_ipv4());
        let (v4, v6): (Vec<_>, Vec<_>) = sockets.iter().partition(is_v4);
        let mut shares: Vec<Vec<TcpListener>> = self.handles.iter().map(|_| Vec::new()).collect();
        let workers = shares.len();
        for (number, socket) in v4.into_iter().enumerate().chain(v6.into_iter().enumerate()) {
            shares[number % workers].push(socket.try_clone().map_err(Error::Duplicate)?);
        }
        for (handle, sockets) in self.handles.iter().zip(shares) {
            if handle.orders.send(Order::Listen { listening, sockets }).is_err() {
                log::error!("{} has ended: connections wait for the others", handle.pulse.name());
            }
        }
        self.open.push(Open { listening, sockets });
        Ok(())
    }

    /// Closes the sockets of a listener. Connections that were accepted go on.
    pub fn close(&mut self, listening: Listening) {
        self.open.retain(|open| open.listening != listening);
        for handle in &self.handles {
            // One that has ended has closed them.
            let _ = handle.orders.send(Order::Close(listening));
        }
    }

    /// Every listener that is open, for handing over.
    #[must_use]
    pub fn open(&self) -> &[Open] {
        &self.open
    }
}

fn start(name: String, shared: &Arc<Shared>, log: &Log, dialer: &Dialer) -> Result<Handle, Error> {
    let (orders, told) = unbounded_channel();
    let pulse = Arc::new(Pulse::new(name.clone()));
    let (scanner, audit) = (shared.engine.scanner()?, log.worker()?);
    let (shared, dialer, kept) = (Arc::clone(shared), dialer.clone(), Arc::clone(&pulse));
    let transport = dialer.transport;
    let run = move || async move { Worker::new(shared, scanner, audit, dialer).serve(told, kept).await };
    sys::spawn_worker(name.clone(), transport, run).map_err(|source| Error::Thread { name, source })?;
    Ok(Handle { orders, pulse })
}
