//! The side that was replaced: submits its frames and waits for what becomes of them.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::super::Error;
use super::super::tree::Hash;
use super::super::writer::{Appended, Plan, Ticket, Wanted};
use super::message::{Outcome, encode_submission, parse_reply, read_message};

/// Bytes submitted and not yet appended: who has more waits.
const IN_FLIGHT: usize = 16 << 20;

/// The way to the process that writes the log now.
pub(crate) struct Remote {
    socket: UnixStream,
    part_bytes: usize,
    room: Arc<Semaphore>,
    open: Mutex<Open>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Open {
    next: u64,
    waiting: HashMap<u64, Waiter>,
    /// To the writing thread. None once the end was said.
    queue: Option<Sender<Vec<u8>>>,
    /// Why nothing can be submitted any more.
    failed: Option<String>,
}

/// Who waits for one frame.
struct Waiter {
    appended: Option<oneshot::Sender<Result<Hash, Error>>>,
    durable: Option<oneshot::Sender<Result<(), Error>>>,
    room: Option<OwnedSemaphorePermit>,
}

/// A frame on its way: it is appended even when nobody waits for it.
pub(crate) struct Submitted {
    appended: oneshot::Receiver<Result<Hash, Error>>,
    durable: Option<Ticket>,
}

impl Submitted {
    /// Waits until the frame survives the death of either process.
    pub(crate) async fn appended(self) -> Result<Appended, Error> {
        let leaf = self.appended.await.unwrap_or(Err(Error::Closed))?;
        Ok(Appended { leaf, ticket: self.durable })
    }
}

impl Remote {
    /// Starts the threads that write to and read from `socket`. `part_bytes` is what the successor's segments take.
    pub(crate) fn start(socket: UnixStream, part_bytes: usize) -> io::Result<Arc<Self>> {
        let (queue, submissions) = channel();
        let open = Open { next: 1, waiting: HashMap::new(), queue: Some(queue), failed: None };
        let (writing, reading) = (socket.try_clone()?, socket.try_clone()?);
        let remote = Arc::new(Self {
            socket,
            part_bytes,
            room: Arc::new(Semaphore::new(IN_FLIGHT)),
            open: Mutex::new(open),
            threads: Mutex::default(),
        });
        let spawn = |name: &str, run: Box<dyn FnOnce(&Self) + Send>| {
            let remote = Arc::clone(&remote);
            std::thread::Builder::new().name(name.into()).spawn(move || run(&remote))
        };
        let threads = vec![
            spawn("audit-submit", Box::new(move |remote| remote.write(writing, &submissions)))?,
            spawn("audit-replies", Box::new(move |remote| remote.read(reading)))?,
        ];
        *remote.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        Ok(remote)
    }

    pub(crate) fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    /// Hands a frame to the writing thread, once there is room for it.
    pub(crate) async fn submit(&self, plan: &Plan<'_>, wanted: Wanted) -> Result<Submitted, Error> {
        // No frame is larger than what may be in flight: `encode_submission` refuses it.
        let bytes = plan.body_len().min(IN_FLIGHT) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| self.failure())?;
        self.push(plan, wanted, Some(room))
    }

    /// Hands over a frame that nobody waits for: the end of an exchange.
    pub(crate) fn submit_now(&self, plan: &Plan<'_>) -> Result<(), Error> {
        self.push(plan, Wanted::Appended, None).map(drop)
    }

    fn push(&self, plan: &Plan<'_>, wanted: Wanted, room: Option<OwnedSemaphorePermit>) -> Result<Submitted, Error> {
        let (appended, on_append) = oneshot::channel();
        let (durable, on_durable) = oneshot::channel();
        let wants = wanted == Wanted::Durable;
        let mut open = self.lock();
        let ticket = open.next;
        let message =
            encode_submission(ticket, wanted, plan).map_err(|e| Error::Successor { reason: e.to_string() })?;
        // Under the lock, so that frames are sent in the order of their tickets.
        if open.queue.as_ref().is_none_or(|queue| queue.send(message).is_err()) {
            drop(open);
            return Err(self.failure());
        }
        open.next += 1;
        let waiter = Waiter { appended: Some(appended), durable: wants.then_some(durable), room };
        open.waiting.insert(ticket, waiter);
        Ok(Submitted { appended: on_append, durable: wants.then_some(on_durable) })
    }

    fn write(&self, mut socket: UnixStream, submissions: &Receiver<Vec<u8>>) {
        for message in submissions {
            if let Err(error) = socket.write_all(&message) {
                return self.fail(&format!("cannot reach it: {error}"));
            }
        }
        // Everything was said. The replies are still to come.
        let _ = socket.shutdown(Shutdown::Write);
    }

    fn read(&self, mut socket: UnixStream) {
        let mut buffer = Vec::new();
        let reason = loop {
            match read_message(&mut socket, &mut buffer) {
                Ok(true) => match parse_reply(&buffer) {
                    Ok((ticket, outcome)) => self.settle(ticket, outcome),
                    Err(error) => break format!("its reply makes no sense: {error}"),
                },
                Ok(false) => break "it has ended".to_owned(),
                Err(error) => break format!("cannot hear it: {error}"),
            }
        };
        self.fail(&reason);
    }

    fn settle(&self, ticket: u64, outcome: Outcome) {
        let mut open = self.lock();
        let Some(waiter) = open.waiting.get_mut(&ticket) else { return };
        // Who no longer waits has gone away: its exchange is ended by its own drop.
        match outcome {
            Outcome::Appended(leaf) => {
                waiter.room = None;
                let _ = waiter.appended.take().map(|appended| appended.send(Ok(leaf)));
                if waiter.durable.is_some() {
                    return;
                }
            }
            Outcome::Durable => {
                let _ = waiter.durable.take().map(|durable| durable.send(Ok(())));
            }
            Outcome::Failed(reason) => waiter.fail(&reason),
        }
        open.waiting.remove(&ticket);
    }

    /// Nothing that is not settled now ever will be.
    fn fail(&self, reason: &str) {
        let mut open = self.lock();
        open.queue = None;
        open.failed.get_or_insert_with(|| reason.to_owned());
        for mut waiter in std::mem::take(&mut open.waiting).into_values() {
            waiter.fail(reason);
        }
        drop(open);
        self.room.close();
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn failure(&self) -> Error {
        self.lock().failed.clone().map_or(Error::Closed, |reason| Error::Successor { reason })
    }

    /// Says that there is no more, and waits until everything that was submitted is settled, but not longer than
    /// `patience`.
    ///
    /// # Errors
    /// When something was not settled by then, or cannot be.
    pub(crate) fn finish(&self, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        drop(self.lock().queue.take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        while threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let late = threads.iter().any(|thread| !thread.is_finished());
        self.fail("this daemon has ended");
        threads.into_iter().for_each(|thread| drop(thread.join()));
        if late { Err(Error::Successor { reason: format!("it was not done within {patience:?}") }) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn fail(&mut self, reason: &str) {
        let error = Error::Successor { reason: reason.to_owned() };
        let _ = self.appended.take().map(|appended| appended.send(Err(error.clone())));
        let _ = self.durable.take().map(|durable| durable.send(Err(error)));
    }
}
