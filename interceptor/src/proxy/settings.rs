//! Limits and deadlines of connections, and what an endpoint has of its own.

use std::time::Duration;

use super::pace::Pace;
use crate::capture::{Bounds, Endpoint};
use crate::http;
use crate::upstream::DialFrom;

/// A deadline that is not met in the life of a daemon: ten years. Unlike [`Duration::MAX`] it can be added to a time.
pub const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Limits and deadlines of one connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of messages.
    pub http: http::Limits,
    /// How long a client is waited for.
    pub client: ClientTimeouts,
    /// How long an endpoint is waited for, unless it has [`Bounds`] of its own.
    pub endpoint: EndpointTimeouts,
    /// Requests of one HTTP/2 connection that may be under way at once.
    pub streams_per_connection: u32,
    /// Whose network connections are dialled from.
    pub dial_from: DialFrom,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// Until its first bytes have come, and its TLS handshake is done.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// How its bodies have to come.
    pub body: Pace,
    /// Without a byte taken of what it is sent.
    pub patience: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
}

/// How long an endpoint is waited for; [`NEVER`] where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointTimeouts {
    /// From a request's last byte to its response's head.
    pub response: Duration,
    /// Between two bytes of a response.
    pub idle: Duration,
    /// From a request's last byte to its response's.
    pub total: Duration,
}

impl Settings {
    /// The limits of messages to and from `endpoint`.
    #[must_use]
    pub fn http_of(&self, endpoint: &Endpoint) -> http::Limits {
        let body = endpoint.bounds.body_bytes.map_or(self.http.body, |bytes| bytes as u64);
        http::Limits { body, ..self.http }
    }

    /// How long `endpoint` is waited for.
    #[must_use]
    pub fn timeouts_of(&self, endpoint: &Endpoint) -> EndpointTimeouts {
        let Bounds { response_timeout_s, idle_timeout_s, total_timeout_s, .. } = endpoint.bounds;
        EndpointTimeouts {
            response: response_timeout_s.map_or(self.endpoint.response, seconds_or_never),
            idle: idle_timeout_s.map_or(self.endpoint.idle, seconds_or_never),
            total: total_timeout_s.map_or(self.endpoint.total, seconds_or_never),
        }
    }
}

/// A limit as configuration has it, where 0 stands for none.
#[must_use]
pub fn seconds_or_never(seconds: u64) -> Duration {
    if seconds == 0 { NEVER } else { Duration::from_secs(seconds).min(NEVER) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let second = Duration::from_secs(1);
        Settings {
            http: http::Limits { body: 100, ..http::Limits::default() },
            client: ClientTimeouts {
                handshake: second,
                head: second,
                body: Pace { idle: second, bytes_per_s: 0 },
                patience: second,
                keep_alive: second,
            },
            endpoint: EndpointTimeouts { response: second, idle: 2 * second, total: NEVER },
            streams_per_connection: 1,
            dial_from: DialFrom::Client,
        }
    }

    #[test]
    fn what_an_endpoint_says_of_itself_wins_over_what_holds_for_all() {
        let endpoint = |more: &str| -> Endpoint {
            toml::from_str(&format!("provider = 'openai'\nnames = ['a.example']\n{more}")).unwrap()
        };
        let (settings, plain) = (settings(), endpoint(""));
        assert_eq!(settings.http_of(&plain).body, 100);
        assert_eq!(settings.timeouts_of(&plain), settings.endpoint);
        let own = endpoint("body_bytes = 5\nresponse_timeout_s = 0\nidle_timeout_s = 7\ntotal_timeout_s = 9");
        assert_eq!(settings.http_of(&own).body, 5);
        let seconds = Duration::from_secs;
        let expected = EndpointTimeouts { response: NEVER, idle: seconds(7), total: seconds(9) };
        assert_eq!(settings.timeouts_of(&own), expected);
    }
}
