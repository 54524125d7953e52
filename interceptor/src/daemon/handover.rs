//! What a daemon and the one that replaces it say to each other, and the open files that go with it.
//!
//! ```text
//! predecessor                                     successor
//! Offer         + hold on the pins          ──>
//! Listener      + socket         (each)     ──>
//! Audit         + stream                    ──>
//! Complete                                  ──>   does everything that can fail
//!                                           <──   Prepared
//! (finishes the audit log)
//! Yours         + the log's lock            ──>   opens the log, swaps the programs, accepts
//!                                           <──   Ready
//! (accepts no more, drains)
//! ```
//!
//! Until `Ready` the predecessor can go on as if nothing had happened; at any point the successor may say `Failed`. One
//! JSON document a message; the socket was inherited, so the peer is this program, in another version perhaps.

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::audit;
use crate::capture::{Listening, NetnsCookie};
use crate::sys::Passage;

/// Version of the messages. Another one is refused: restart instead.
const VERSION: u32 = 1;

/// Listening sockets that are taken over at most: what every network namespace that may be open could have.
const MAX_LISTENERS: usize = 1 << 16;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
enum Message {
    Offer { version: u32, facts: Facts },
    Listener { netns: u64, generation: u64 },
    Audit,
    Complete,
    Prepared,
    Yours { generation: [u8; 16] },
    Ready { part_bytes: usize },
    Failed { why: String },
}

/// What a successor cannot change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Layout of what is shared with the kernel programs.
    pub abi: u32,
    /// Where redirected connections arrive.
    pub port: u16,
    /// Where the programs are pinned.
    pub pin: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The process to be replaced.
    pub pid: u32,
}

/// A listening socket that came from elsewhere.
#[derive(Debug)]
pub struct Inherited {
    /// The listener it belongs to, as announced to the kernel programs.
    pub listening: Listening,
    /// The socket.
    pub socket: TcpListener,
}

/// Everything that a successor is given before it must be ready for the rest.
#[derive(Debug)]
pub struct Offer {
    /// What it cannot change.
    pub facts: Facts,
    /// The hold on the pins.
    pub hold: OwnedFd,
    /// The listening sockets.
    pub listeners: Vec<Inherited>,
    /// Where the predecessor's frames will come from.
    pub audit: UnixStream,
}

/// Why there is no hand-over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other side's process has ended.
    #[error("the other process has ended")]
    Ended,
    /// The other side says so.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("the other process says nothing")]
    Silent,
    /// Not this protocol.
    #[error("cannot understand the other process: {0}; restart the daemon instead")]
    Garbled(String),
    /// What the system said.
    #[error("cannot talk to the other process: {0}")]
    Io(io::Error),
}

impl From<io::Error> for HandoverError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// The side of the daemon that is to be replaced. Its calls wait.
#[derive(Debug)]
pub struct ToSuccessor(Passage);

/// The side of the daemon that takes over. Its calls wait.
#[derive(Debug)]
pub struct ToPredecessor(Passage);

/// Both ends; the second is for the process to be started.
///
/// # Errors
/// When descriptors run out.
pub fn pair() -> io::Result<(ToSuccessor, OwnedFd)> {
    let (ours, theirs) = Passage::pair()?;
    Ok((ToSuccessor(ours), theirs.into()))
}

impl ToSuccessor {
    /// How long each step may take.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.set_patience(patience)
    }

    /// Gives away what can be shared.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn offer<'a>(
        &self,
        facts: Facts,
        hold: BorrowedFd<'_>,
        listeners: impl Iterator<Item = (Listening, &'a TcpListener)>,
        audit: BorrowedFd<'_>,
    ) -> Result<(), HandoverError> {
        send(&self.0, &Message::Offer { version: VERSION, facts }, &[hold])?;
        for (Listening { netns, generation }, socket) in listeners {
            send(&self.0, &Message::Listener { netns: netns.0, generation }, &[socket.as_fd()])?;
        }
        send(&self.0, &Message::Audit, &[audit])?;
        send(&self.0, &Message::Complete, &[])
    }

    /// Waits until the successor has done what can fail.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn prepared(&self) -> Result<(), HandoverError> {
        match receive(&self.0)? {
            (Message::Prepared, _) => Ok(()),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Gives the audit log away and waits until the successor serves. Returns what goes into one frame of its log.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn yours(&self, log: &audit::Handover) -> Result<usize, HandoverError> {
        send(&self.0, &Message::Yours { generation: log.generation }, &[log.lock.as_fd()])?;
        match receive(&self.0)? {
            (Message::Ready { part_bytes }, _) => Ok(part_bytes),
            (other, _) => Err(unexpected(&other)),
        }
    }
}

impl ToPredecessor {
    /// Takes what is offered over the inherited socket.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn accept(socket: OwnedFd) -> Result<(Self, Offer), HandoverError> {
        let passage = Passage::from_fd(socket)?;
        let (Message::Offer { version: VERSION, facts }, Some(hold)) = receive(&passage)? else {
            return Err(HandoverError::Garbled("it does not begin with an offer of this version".to_owned()));
        };
        let mut listeners = Vec::new();
        let audit = loop {
            match receive(&passage)? {
                (Message::Listener { netns, generation }, Some(file)) if listeners.len() < MAX_LISTENERS => {
                    let listening = Listening { netns: NetnsCookie(netns), generation };
                    listeners.push(Inherited { listening, socket: file.into() });
                }
                (Message::Audit, Some(file)) => break UnixStream::from(file),
                (other, _) => return Err(unexpected(&other)),
            }
        };
        match receive(&passage)? {
            (Message::Complete, _) => Ok((Self(passage), Offer { facts, hold, listeners, audit })),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Says that nothing but the last steps is left, and waits for the audit log.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn prepared(&self) -> Result<audit::Handover, HandoverError> {
        send(&self.0, &Message::Prepared, &[])?;
        match receive(&self.0)? {
            (Message::Yours { generation }, Some(lock)) => Ok(audit::Handover { lock, generation }),
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Says that this process serves. From here on the predecessor does not come back.
    ///
    /// # Errors
    /// See [`HandoverError`].
    pub fn ready(&self, part_bytes: usize) -> Result<(), HandoverError> {
        send(&self.0, &Message::Ready { part_bytes }, &[])
    }

    /// Says that this process does not take over, and why.
    pub fn failed(&self, why: &impl fmt::Display) {
        let mut why = why.to_string();
        why.truncate(why.floor_char_boundary(4096));
        // It sees the end of this process as well.
        let _ = send(&self.0, &Message::Failed { why }, &[]);
    }
}

fn send(to: &Passage, message: &Message, files: &[BorrowedFd<'_>]) -> Result<(), HandoverError> {
    let text = serde_json::to_vec(message).expect("a message is plain data");
    Ok(to.send(&text, files)?)
}

/// The next message, and the one file that may come with it.
fn receive(from: &Passage) -> Result<(Message, Option<OwnedFd>), HandoverError> {
    let (text, mut files) = from.receive()?.ok_or(HandoverError::Ended)?;
    if files.len() > 1 {
        return Err(HandoverError::Garbled("more than one file with a message".to_owned()));
    }
    match parse(&text)? {
        Message::Failed { why } => Err(HandoverError::Failed(why)),
        message => Ok((message, files.pop())),
    }
}

fn parse(text: &[u8]) -> Result<Message, HandoverError> {
    serde_json::from_slice(text).map_err(|e| HandoverError::Garbled(e.to_string()))
}

fn unexpected(message: &Message) -> HandoverError {
    HandoverError::Garbled(format!("unexpected {message:?}, or its file is missing"))
}

/// For the fuzzer: any bytes as a message; what parses is said again in the same words.
///
/// # Panics
/// When the parser does, or when encoding and parsing disagree.
pub fn fuzz_handover(data: &[u8]) {
    if let Ok(message) = parse(data) {
        let text = serde_json::to_vec(&message).expect("a message is plain data");
        assert_eq!(parse(&text).expect("it was said by us"), message);
    }
    let _ = Listening::from_name(&String::from_utf8_lossy(data));
}

/// Names of listeners at the service manager.
impl Listening {
    /// `tcp-NETNS-GENERATION`: what the service manager keeps its sockets under.
    #[must_use]
    pub fn name(&self) -> String {
        format!("tcp-{}-{}", self.netns.0, self.generation)
    }

    /// The listener of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let (netns, generation) = name.strip_prefix("tcp-")?.split_once('-')?;
        let listening = Self { netns: NetnsCookie(netns.parse().ok()?), generation: generation.parse().ok()? };
        // Numbers can be written in more than one way.
        (listening.name() == name).then_some(listening)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts() -> Facts {
        Facts { abi: 2, port: 960, pin: "/pin".into(), state: "/state".into(), pid: 7 }
    }

    #[test]
    fn everything_offered_arrives_in_its_place() {
        let (predecessor, theirs) = pair().unwrap();
        let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let (stream, _other) = UnixStream::pair().unwrap();
        let hold = tempfile::tempfile().unwrap();
        let at = |generation| Listening { netns: NetnsCookie(9), generation };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let listeners = sockets.iter().enumerate().map(|(n, socket)| (at(n as u64), socket));
                predecessor.offer(facts(), hold.as_fd(), listeners, stream.as_fd()).unwrap();
                predecessor.prepared().unwrap();
                let log = audit::Handover { lock: tempfile::tempfile().unwrap().into(), generation: [5; 16] };
                assert_eq!(predecessor.yours(&log).unwrap(), 4096);
            });
            let (successor, offer) = ToPredecessor::accept(theirs).unwrap();
            assert_eq!(offer.facts, facts());
            for (n, (inherited, socket)) in offer.listeners.iter().zip(&sockets).enumerate() {
                assert_eq!(inherited.listening, at(n as u64));
                assert_eq!(inherited.socket.local_addr().unwrap(), socket.local_addr().unwrap());
            }
            assert_eq!(successor.prepared().unwrap().generation, [5; 16]);
            successor.ready(4096).unwrap();
        });
    }

    #[test]
    fn a_successor_that_fails_says_why_and_one_that_ends_or_hangs_is_noticed() {
        let (predecessor, theirs) = pair().unwrap();
        let successor = ToPredecessor(Passage::from_fd(theirs).unwrap());
        successor.failed(&"listen.port was changed");
        assert_eq!(predecessor.prepared().unwrap_err().to_string(), "listen.port was changed");
        predecessor.set_patience(Duration::from_millis(10)).unwrap();
        assert!(matches!(predecessor.prepared(), Err(HandoverError::Silent)));
        drop(successor);
        assert!(matches!(predecessor.prepared(), Err(HandoverError::Ended)));
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        let (predecessor, theirs) = pair().unwrap();
        send(&predecessor.0, &Message::Complete, &[]).unwrap();
        assert!(matches!(ToPredecessor::accept(theirs), Err(HandoverError::Garbled(_))));
        let (predecessor, theirs) = pair().unwrap();
        send(&predecessor.0, &Message::Offer { version: VERSION, facts: facts() }, &[]).unwrap();
        assert!(matches!(ToPredecessor::accept(theirs), Err(HandoverError::Garbled(_))), "without its file");
    }

    proptest! {
        #[test]
        fn a_listener_is_found_by_its_name(netns: u64, generation: u64) {
            let listening = Listening { netns: NetnsCookie(netns), generation };
            prop_assert_eq!(Listening::from_name(&listening.name()), Some(listening));
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
            fuzz_handover(&data);
            fuzz_handover(text.as_bytes());
            fuzz_handover(format!("tcp-{text}").as_bytes());
        }
    }
}
