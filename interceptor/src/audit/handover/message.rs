//! What passes between a draining daemon and its successor. Little-endian, each message behind its length.
//!
//! ```text
//! submission                                  reply
//! 0   u32   length of the rest                0   u32   length of the rest
//! 4   u64   ticket                            4   u64   ticket
//! 12  u8    kind of the frame                 12  u8    1 appended, 2 durable, 3 failed
//! 13  u8    1: say when it is durable         13        1: [32] leaf hash; 3: why, in UTF-8
//! 14  u8    number of rows
//! 15  u8    zero
//! 16  [16]  exchange
//! 32  [16]  key id
//! 48  rows  as in a frame's entry
//!     the sections, in the order of their rows
//! ```
//!
//! The peer is this program in another version, but what it says is parsed as if it were a stranger's.

use std::io::{self, Read};

use super::super::frame::{self, FrameError, Kind, MAX_SECTIONS, ROW};
use super::super::tree::Hash;
use super::super::writer::{Plan, Wanted};
use crate::flow::ExchangeId;

/// Bytes of the largest message: a frame of the largest parts has less than half of it.
const MAX_MESSAGE: usize = 16 << 20;
/// Bytes of a submission before its rows, without the length.
const FIXED: usize = 44;
/// Bytes of the longest reason that is sent.
const MAX_REASON: usize = 4096;

/// Why bytes are not a message. The connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the message is cut short")]
    Short,
    #[error("the message has {0} bytes, more than any may have")]
    TooLong(usize),
    #[error("bytes are left over")]
    TooMuch,
    #[error("unknown {0}")]
    Unknown(&'static str),
    #[error(transparent)]
    Row(#[from] FrameError),
}

/// One frame to be appended.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    pub(crate) ticket: u64,
    pub(crate) wanted: Wanted,
    pub(crate) plan: Plan<'a>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is in the log and survives the death of both processes; this is its leaf hash.
    Appended(Hash),
    /// It survives the loss of power.
    Durable,
    /// It is not in the log, or not durable.
    Failed(String),
}

/// A submission as it is sent, its length included.
///
/// # Errors
/// [`MessageError::TooLong`]: no frame of this size could be written either.
pub(crate) fn encode_submission(ticket: u64, wanted: Wanted, plan: &Plan<'_>) -> Result<Vec<u8>, MessageError> {
    let length = FIXED + plan.sections.len() * ROW + plan.body_len();
    if length > MAX_MESSAGE {
        return Err(MessageError::TooLong(length));
    }
    let mut out = Vec::with_capacity(4 + length);
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&ticket.to_le_bytes());
    out.extend_from_slice(&[plan.kind.code(), u8::from(wanted == Wanted::Durable), plan.sections.len() as u8, 0]);
    out.extend_from_slice(plan.exchange.as_bytes());
    out.extend_from_slice(&plan.key_id);
    for section in &plan.sections {
        out.extend_from_slice(&frame::encode_row(section));
    }
    for bytes in &plan.body {
        out.extend_from_slice(bytes);
    }
    Ok(out)
}

/// Parses a submission, without its length. What the sections hold is not looked at; their checksum is computed anew.
pub(crate) fn parse_submission(message: &[u8]) -> Result<Submission<'_>, MessageError> {
    let (fixed, rest) = message.split_at_checked(FIXED).ok_or(MessageError::Short)?;
    let kind = Kind::from_code(fixed[8]).ok_or(MessageError::Unknown("kind of frame"))?;
    let wanted = match fixed[9] {
        0 => Wanted::Appended,
        1 => Wanted::Durable,
        _ => return Err(MessageError::Unknown("durability")),
    };
    let rows = usize::from(fixed[10]);
    if rows > MAX_SECTIONS || fixed[11] != 0 {
        return Err(MessageError::Unknown("shape of frame"));
    }
    let (table, mut rest) = rest.split_at_checked(rows * ROW).ok_or(MessageError::Short)?;
    let bytes16 = |at: usize| <[u8; 16]>::try_from(&fixed[at..at + 16]).expect("16 bytes");
    let mut plan = Plan::new(kind, ExchangeId::from_bytes(bytes16(12)));
    plan.key_id = bytes16(28);
    for row in table.chunks_exact(ROW) {
        let section = frame::parse_row(row)?;
        let (bytes, after) = rest.split_at_checked(section.stored()).ok_or(MessageError::Short)?;
        rest = after;
        plan.add(section, bytes);
    }
    if !rest.is_empty() {
        return Err(MessageError::TooMuch);
    }
    Ok(Submission { ticket: frame::u64_at(fixed, 0), wanted, plan })
}

/// A reply as it is sent, its length included.
pub(crate) fn encode_reply(ticket: u64, outcome: &Outcome) -> Vec<u8> {
    let (code, rest): (u8, &[u8]) = match outcome {
        Outcome::Appended(leaf) => (1, leaf),
        Outcome::Durable => (2, &[]),
        Outcome::Failed(reason) => (3, &reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]),
    };
    let length = (9 + rest.len()) as u32;
    [&length.to_le_bytes(), ticket.to_le_bytes().as_slice(), &[code], rest].concat()
}

/// Parses a reply, without its length.
pub(crate) fn parse_reply(message: &[u8]) -> Result<(u64, Outcome), MessageError> {
    let (fixed, rest) = message.split_at_checked(9).ok_or(MessageError::Short)?;
    let outcome = match (fixed[8], rest) {
        (1, leaf) => Outcome::Appended(leaf.try_into().map_err(|_| MessageError::Short)?),
        (2, []) => Outcome::Durable,
        (3, reason) => {
            let reason = std::str::from_utf8(reason).map_err(|_| MessageError::Unknown("characters"))?;
            Outcome::Failed(reason.to_owned())
        }
        _ => return Err(MessageError::Unknown("outcome")),
    };
    Ok((frame::u64_at(fixed, 0), outcome))
}

/// Reads one message without its length into `buffer`; false at the end of the stream.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] when it is longer than any may be, and those of reading.
pub(crate) fn read_message(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    let mut got = 0;
    while got < length.len() {
        match from.read(&mut length[got..]) {
            Ok(0) if got == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => got += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, MessageError::TooLong(length)));
    }
    buffer.clear();
    // Grows as bytes come: a length alone must not make anyone hold so much.
    if from.take(length as u64).read_to_end(buffer)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(true)
}

/// For the fuzzer: any bytes as a stream of submissions and of replies. What parses is encoded to the same bytes.
///
/// # Panics
/// When a parser does, or when encoding and parsing disagree.
pub fn fuzz_messages(data: &[u8]) {
    let mut stream = data;
    let mut buffer = Vec::new();
    while let Ok(true) = read_message(&mut stream, &mut buffer) {
        if let Ok(Submission { ticket, wanted, plan }) = parse_submission(&buffer) {
            let encoded = encode_submission(ticket, wanted, &plan).expect("it was read");
            assert_eq!(&encoded[4..], buffer, "a submission");
        }
        if let Ok((ticket, outcome)) = parse_reply(&buffer)
            && buffer.len() <= MAX_REASON
        {
            assert_eq!(&encode_reply(ticket, &outcome)[4..], buffer, "a reply");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::frame::Content;
    use super::*;

    fn contents() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
        proptest::collection::vec((0u8..3, proptest::collection::vec(any::<u8>(), 0..300)), 0..=MAX_SECTIONS)
    }

    fn planned<'a>(kind: u8, id: [u8; 16], parts: &'a [(u8, Vec<u8>)]) -> Plan<'a> {
        let kind = Kind::from_code(kind).unwrap();
        parts.iter().fold(Plan::new(kind, ExchangeId::from_bytes(id)), |plan, (how, bytes)| match how {
            0 => plan.plain(Content::Json, bytes),
            1 => plan.sealed(Content::Original, [7; 16], bytes),
            _ => plan.parts(Content::Response, bytes.len() as u32, [9; 32]),
        })
    }

    proptest! {
        #[test]
        fn a_submission_arrives_as_it_was_sent(
            kind in 1u8..=6, id: [u8; 16], ticket: u64, durable: bool, parts in contents()
        ) {
            let plan = planned(kind, id, &parts);
            let wanted = if durable { Wanted::Durable } else { Wanted::Appended };
            let sent = encode_submission(ticket, wanted, &plan).unwrap();
            let mut buffer = Vec::new();
            prop_assert!(read_message(&mut sent.as_slice(), &mut buffer).unwrap());
            let arrived = parse_submission(&buffer).unwrap();
            prop_assert_eq!((arrived.ticket, arrived.wanted), (ticket, wanted));
            prop_assert_eq!(arrived.plan.exchange, plan.exchange);
            prop_assert_eq!((arrived.plan.kind, arrived.plan.key_id), (plan.kind, plan.key_id));
            prop_assert_eq!(&arrived.plan.sections, &plan.sections);
            prop_assert_eq!(arrived.plan.body.concat(), plan.body.concat());
            prop_assert_eq!(arrived.plan.crc, plan.crc, "computed anew");
        }

        #[test]
        fn a_submission_cut_or_lengthened_is_refused(parts in contents(), cut in 1usize..50, more: u8) {
            let sent = encode_submission(1, Wanted::Durable, &planned(1, [1; 16], &parts)).unwrap();
            let message = &sent[4..];
            prop_assert!(parse_submission(&message[..message.len().saturating_sub(cut)]).is_err());
            prop_assert!(parse_submission(&[message, &[more]].concat()).is_err());
        }

        #[test]
        fn a_reply_arrives_as_it_was_sent(ticket: u64, leaf: [u8; 32], reason in "\\PC{0,200}") {
            for outcome in [Outcome::Appended(leaf), Outcome::Durable, Outcome::Failed(reason)] {
                let sent = encode_reply(ticket, &outcome);
                prop_assert_eq!(parse_reply(&sent[4..]).unwrap(), (ticket, outcome));
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz_messages(&data);
        }
    }

    #[test]
    fn a_length_that_no_message_has_is_refused_before_it_is_read() {
        let mut endless = io::repeat(0xff);
        let error = read_message(&mut endless, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
