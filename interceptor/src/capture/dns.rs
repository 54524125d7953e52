//! DNS answers seen on the host (RFC 1035): which names lead to which addresses, and for how long.
//!
//! The bytes come from the network. The `domain` crate takes messages apart: it bounds compression pointers and names,
//! and knows the service bindings (RFC 9460) whose address hints clients use too. What an answer means is decided here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::{Message, Name, ParsedName, Rtype, ToName};
use domain::rdata::svcb::value::{Ipv4Hint, Ipv6Hint};
use domain::rdata::{A, Aaaa, Cname, Https};

/// Longest chain of aliases that is followed; recursive resolvers give up at about this length.
const MAX_CHAIN: usize = 16;

/// What one answer says about the name that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name of the question and, in order, what it is an alias of (CNAME); in lower case, without final dots.
    /// Names that no host can have are left out.
    pub names: Vec<String>,
    /// Addresses at the end of that chain, each with the time it may be cached for: the shortest on the way to it.
    pub addresses: Vec<(IpAddr, Duration)>,
    /// Whether the rest was cut off (TC): the client asks again over TCP, which is not read.
    pub truncated: bool,
}

/// Why a packet is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short, an impossible name, a record that ends behind the message.
    #[error("not a DNS message")]
    Malformed,
    /// A query, a notification, an update.
    #[error("a DNS message, but not the answer to one question of class IN")]
    NotAnAnswer,
    /// A loop, or more aliases than any resolver follows.
    #[error("aliases in a loop, or more than {MAX_CHAIN}")]
    Chain,
}

impl From<domain::base::wire::ParseError> for Error {
    fn from(_: domain::base::wire::ParseError) -> Self {
        Self::Malformed
    }
}

type OwnedName = Name<Vec<u8>>;

/// The records of an answer section that lead from names to addresses.
#[derive(Default)]
struct Records {
    aliases: HashMap<OwnedName, (OwnedName, Duration)>,
    addresses: Vec<(OwnedName, IpAddr, Duration)>,
}

/// Reads one DNS message.
///
/// # Errors
/// See [`Error`]. A negative answer is none: it has no addresses.
pub fn parse(message: &[u8]) -> Result<Answer, Error> {
    let message = Message::from_slice(message).map_err(|_| Error::Malformed)?;
    let header = message.header();
    if !header.qr() || header.opcode() != Opcode::QUERY || message.header_counts().qdcount() != 1 {
        return Err(Error::NotAnAnswer);
    }
    let question = message.sole_question()?;
    if question.qclass() != Class::IN {
        return Err(Error::NotAnAnswer);
    }
    let mut answer = Answer { truncated: header.tc(), ..Answer::default() };
    let records = match Records::read(message) {
        // A resolver cuts between records, but RFC 1035 does not say that it must.
        Err(Error::Malformed) if answer.truncated => Records::default(),
        records => records?,
    };
    let mut name = question.qname().to_name::<Vec<u8>>();
    let mut ttl = Duration::MAX;
    for _ in 0..=MAX_CHAIN {
        answer.names.extend(host_name(&name));
        // A resolver that blocks a name says NXDOMAIN and may add anything; a client takes no address from that.
        if header.rcode() == Rcode::NOERROR {
            let here = records.addresses.iter().filter(|(owner, ..)| *owner == name);
            answer.addresses.extend(here.map(|&(_, ip, own)| (ip, own.min(ttl))));
        }
        let Some((target, own)) = records.aliases.get(&name) else { return Ok(answer) };
        ttl = ttl.min(*own);
        name = target.clone();
    }
    Err(Error::Chain)
}

impl Records {
    fn read(message: &Message<[u8]>) -> Result<Self, Error> {
        let mut records = Self::default();
        for record in message.answer()? {
            let record = record?;
            if record.class() != Class::IN {
                continue;
            }
            let ttl = Duration::from_secs(record.ttl().as_secs().into());
            let owner = record.owner().to_name::<Vec<u8>>();
            match record.rtype() {
                Rtype::A => {
                    let data = record.into_record::<A>()?.ok_or(Error::Malformed)?;
                    records.addresses.push((owner, data.data().addr().into(), ttl));
                }
                Rtype::AAAA => {
                    let data = record.into_record::<Aaaa>()?.ok_or(Error::Malformed)?;
                    records.addresses.push((owner, data.data().addr().into(), ttl));
                }
                Rtype::CNAME => {
                    let data = record.into_record::<Cname<ParsedName<_>>>()?.ok_or(Error::Malformed)?;
                    // Of two aliases for one name, which is an error, the first stands.
                    records.aliases.entry(owner).or_insert((data.data().cname().to_name(), ttl));
                }
                Rtype::HTTPS => {
                    let data = record.into_record::<Https<_, ParsedName<_>>>()?.ok_or(Error::Malformed)?;
                    let params = data.data().params();
                    let v4 = params.first::<Ipv4Hint<_>>();
                    let v6 = params.first::<Ipv6Hint<_>>();
                    let v4 = v4.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
                    let v6 = v6.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
                    records.addresses.extend(v4.chain(v6).map(|ip| (owner.clone(), ip, ttl)));
                }
                _ => {}
            }
        }
        Ok(records)
    }
}

/// The name as text; none when a label has a character that host names do not have. That includes the dot: the text of
/// such a name would be that of another.
fn host_name(name: &OwnedName) -> Option<String> {
    let mut text = String::new();
    for label in name.iter().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label.as_slice() {
            if !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_' {
                return None;
            }
            text.push(byte.to_ascii_lowercase().into());
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Fuzzing entry: whatever the bytes, an answer is bounded by them.
#[doc(hidden)]
pub fn fuzz_dns(message: &[u8]) {
    let Ok(answer) = parse(message) else { return };
    assert!(answer.names.len() <= MAX_CHAIN + 1);
    // An address takes at least four bytes of a message, and may be reached by each name once at most.
    assert!(answer.addresses.len() <= message.len() / 4);
    for name in &answer.names {
        assert!(name.len() <= 253 && !name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
    }
}

#[cfg(test)]
mod tests;
