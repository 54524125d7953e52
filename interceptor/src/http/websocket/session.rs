//! How a session ends: who is told what (RFC 6455, section 7).
//!
//! A close frame that one side sends passes on as it came. When the proxy has to end the session, each side that has not been
//! sent a close frame yet gets one: whoever is at fault learns what it did, the other that it did nothing wrong.
//!
//! | what happened | client gets | endpoint gets |
//! |---|---|---|
//! | the client broke the protocol or a limit | 1002, 1007 or 1009 | 1001 |
//! | a message of the client is refused | the refusal's code and reason | 1001 |
//! | the endpoint broke the protocol or a limit | 1011 | 1002, 1007 or 1009 |
//! | something failed here | 1011 | 1001 |
//! | this process ends, or nobody says anything for too long | 1001 | 1001 |

use bytes::Bytes;

use super::{Close, Error, Peer, close_frame};

/// Why the proxy ends a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// One side broke the protocol or a limit.
    #[error("{}: {error}", side(*.by))]
    Violation {
        /// Who.
        by: Peer,
        /// How.
        error: Error,
    },
    /// What the client says must not leave.
    #[error("a message was refused: {reason}")]
    Refused {
        /// For the close frame.
        code: u16,
        /// For the close frame, with the rule and the id of the record.
        reason: String,
    },
    /// Something went wrong here.
    #[error("the interceptor failed: {0}")]
    Internal(String),
    /// This process ends.
    #[error("the interceptor is restarting")]
    Leaving,
    /// Neither side has said anything for longer than is allowed.
    #[error("the session was idle for too long")]
    Idle,
}

fn side(peer: Peer) -> &'static str {
    match peer {
        Peer::Client => "the client broke the WebSocket protocol",
        Peer::Endpoint => "the endpoint broke the WebSocket protocol",
    }
}

/// The last frames, for the sides that are still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Farewell {
    /// To the client.
    pub to_client: Option<Bytes>,
    /// To the endpoint.
    pub to_endpoint: Option<Bytes>,
}

/// Who has said goodbye.
#[derive(Clone, Debug, Default)]
pub struct Session {
    client: Option<Close>,
    endpoint: Option<Close>,
}

impl Session {
    /// `by` has sent a close frame, which was passed on.
    pub fn closed(&mut self, by: Peer, close: Close) {
        match by {
            Peer::Client => self.client = Some(close),
            Peer::Endpoint => self.endpoint = Some(close),
        }
    }

    /// What `by` said when it closed.
    #[must_use]
    pub fn close_of(&self, by: Peer) -> Option<&Close> {
        match by {
            Peer::Client => self.client.as_ref(),
            Peer::Endpoint => self.endpoint.as_ref(),
        }
    }

    /// Both sides have said goodbye: the connections can end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.client.is_some() && self.endpoint.is_some()
    }

    /// What is left to say when the proxy ends the session. `key` masks the frame for the endpoint.
    #[must_use]
    pub fn failed(&self, failure: &Failure, key: [u8; 4]) -> Farewell {
        let (client, endpoint) = codes(failure);
        let reason = failure.to_string();
        let to_client = match failure {
            Failure::Refused { reason, .. } => close_frame(client, reason, None),
            _ => close_frame(client, &reason, None),
        };
        let to_endpoint = match failure {
            // What the client did is nobody else's business.
            Failure::Violation { by: Peer::Endpoint, .. } => close_frame(endpoint, &reason, Some(key)),
            _ => close_frame(endpoint, "", Some(key)),
        };
        // Whoever got the other's close frame has nothing more to learn.
        Farewell {
            to_client: self.endpoint.is_none().then_some(to_client),
            to_endpoint: self.client.is_none().then_some(to_endpoint),
        }
    }
}

/// For the client and for the endpoint.
fn codes(failure: &Failure) -> (u16, u16) {
    const GOING_AWAY: u16 = 1001;
    const INTERNAL: u16 = 1011;
    match failure {
        Failure::Violation { by: Peer::Client, error } => (error.code(), GOING_AWAY),
        Failure::Violation { by: Peer::Endpoint, error } => (INTERNAL, error.code()),
        Failure::Refused { code, .. } => (*code, GOING_AWAY),
        Failure::Internal(_) => (INTERNAL, GOING_AWAY),
        Failure::Leaving | Failure::Idle => (GOING_AWAY, GOING_AWAY),
    }
}
