//! The side that writes the log: appends what its predecessor submits.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::super::log::Context;
use super::super::writer::Ticket;
use super::message::{MessageError, Outcome, Submission, encode_reply, parse_submission, read_message};

/// Frames appended whose durability is still to be told; the predecessor waits beyond.
const UNTOLD: usize = 1024;

/// Appends what comes from `predecessor`, in the order in which it comes, until there is no more. In threads of its
/// own: one appends, one waits for the disk. Neither waits for a ring, and both answer a peer that always listens.
pub(crate) fn serve(context: Arc<Context>, predecessor: UnixStream) -> io::Result<JoinHandle<()>> {
    let replies = Arc::new(Replies(Mutex::new(predecessor.try_clone()?)));
    let (durable, tickets) = sync_channel(UNTOLD);
    let told = Arc::clone(&replies);
    let telling = std::thread::Builder::new().name("audit-told".into()).spawn(move || tell_durable(&tickets, &told))?;
    std::thread::Builder::new().name("audit-heir".into()).spawn(move || {
        if let Err(error) = append_all(&context, predecessor, &replies, &durable) {
            log::error!("audit log: the daemon that was replaced can record nothing more: {error}");
        }
        // What is appended is still told.
        drop(durable);
        let _ = telling.join();
        replies.close();
    })
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its message makes no sense: {0}")]
    Message(#[from] MessageError),
}

fn append_all(
    context: &Context,
    mut predecessor: UnixStream,
    replies: &Replies,
    durable: &SyncSender<(u64, Ticket)>,
) -> Result<(), ServeError> {
    // Only to wait for room in the log, or for it to change hands again.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut buffer = Vec::new();
    while read_message(&mut predecessor, &mut buffer)? {
        let Submission { ticket, wanted, plan } = parse_submission(&buffer)?;
        match runtime.block_on(context.sink.append(&plan, wanted)) {
            Ok(appended) => {
                replies.send(ticket, &Outcome::Appended(appended.leaf))?;
                if let Some(waiting) = appended.ticket {
                    // The other thread ends only with this sender.
                    let _ = durable.send((ticket, waiting));
                }
            }
            Err(error) => replies.send(ticket, &Outcome::Failed(error.to_string()))?,
        }
    }
    Ok(())
}

/// Frames become durable in the order in which they were appended.
fn tell_durable(tickets: &Receiver<(u64, Ticket)>, replies: &Replies) {
    for (ticket, waiting) in tickets {
        let outcome = match waiting.blocking_recv() {
            Ok(Ok(())) => Outcome::Durable,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("the audit log is closed".to_owned()),
        };
        // A predecessor that is gone is noticed by the thread that reads from it.
        let _ = replies.send(ticket, &outcome);
    }
}

/// The way back, for two threads.
struct Replies(Mutex<UnixStream>);

impl Replies {
    fn send(&self, ticket: u64, outcome: &Outcome) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&encode_reply(ticket, outcome))
    }

    fn close(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).shutdown(std::net::Shutdown::Both);
    }
}
