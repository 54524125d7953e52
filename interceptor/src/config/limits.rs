//! The `[limits]` and `[upstream]` tables: how much is held for others, and how long they are waited for.

use std::path::PathBuf;

use serde::Deserialize;

use crate::upstream::DialFrom;

/// The `[limits]` table: of clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one request body.
    pub body_bytes: usize,
    /// Bytes of all request bodies held at once; a body counts three times.
    pub buffered_bytes: usize,
    /// Of those, bytes for requests of one user.
    pub buffered_bytes_per_user: usize,
    /// Client connections open at once.
    pub connections: usize,
    /// Client connections of one user open at once.
    pub connections_per_user: usize,
    /// HTTP/2 requests under way at once.
    pub streams: usize,
    /// HTTP/2 requests of one user under way at once.
    pub streams_per_user: usize,
    /// HTTP/2 requests of one connection under way at once.
    pub streams_per_connection: u32,
    /// Network namespaces, besides the daemon's own, that may have a listener at once.
    pub namespaces: usize,
    /// Of those, namespaces of processes of one user; root may have all.
    pub namespaces_per_user: usize,
    /// Seconds a client may take for its first bytes and its TLS handshake.
    pub handshake_timeout_s: u64,
    /// Seconds from the first byte of a request's head to its last.
    pub header_timeout_s: u64,
    /// Seconds without a byte of a request's body.
    pub body_idle_timeout_s: u64,
    /// Bytes a second that a request's body must bring, on average and after the time of `body_idle_timeout_s`; 0: any.
    pub body_bytes_per_s: u64,
    /// Seconds a client or an endpoint may take no byte of what it is sent.
    pub write_timeout_s: u64,
    /// Seconds a client connection may stay idle between requests.
    pub keep_alive_s: u64,
}

/// The `[upstream]` table: of endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// PEM files of certificate authorities trusted besides the system's.
    pub roots: Vec<PathBuf>,
    /// Seconds until an attempt to connect is given up.
    pub connect_timeout_s: u64,
    /// Seconds until a TLS handshake is given up.
    pub handshake_timeout_s: u64,
    /// Seconds from a request's last byte to the head of its response; 0: as long as it takes. A model may think for
    /// minutes before it says a word.
    pub response_timeout_s: u64,
    /// Seconds between two bytes of a response; 0: as long as it takes.
    pub idle_timeout_s: u64,
    /// Seconds from a request's last byte to its response's; 0: as long as it takes.
    pub total_timeout_s: u64,
    /// Whose network endpoints are dialled from.
    pub dial_from: DialFrom,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            buffered_bytes: 1 << 30,
            buffered_bytes_per_user: 512 << 20,
            connections: 8192,
            connections_per_user: 2048,
            streams: 16384,
            streams_per_user: 4096,
            streams_per_connection: 128,
            namespaces: 256,
            namespaces_per_user: 64,
            handshake_timeout_s: 30,
            header_timeout_s: 60,
            body_idle_timeout_s: 60,
            body_bytes_per_s: 1024,
            write_timeout_s: 60,
            keep_alive_s: 300,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            connect_timeout_s: 10,
            handshake_timeout_s: 10,
            response_timeout_s: 3600,
            idle_timeout_s: 7200,
            total_timeout_s: 0,
            dial_from: DialFrom::Client,
        }
    }
}

impl Limits {
    /// What no client could live with.
    pub(super) fn check(&self) -> Result<(), String> {
        // The map of listeners has room for so many, the daemon's own included.
        if self.namespaces >= interceptor_ebpf::MAX_LISTENERS {
            return Err(format!("limits.namespaces must be below {}", interceptor_ebpf::MAX_LISTENERS));
        }
        let at_once = [
            ("connections", self.connections),
            ("connections_per_user", self.connections_per_user),
            ("streams", self.streams),
            ("streams_per_user", self.streams_per_user),
            ("streams_per_connection", self.streams_per_connection as usize),
            ("body_bytes", self.body_bytes),
        ];
        let times = [
            ("handshake_timeout_s", self.handshake_timeout_s),
            ("header_timeout_s", self.header_timeout_s),
            ("body_idle_timeout_s", self.body_idle_timeout_s),
            ("write_timeout_s", self.write_timeout_s),
            ("keep_alive_s", self.keep_alive_s),
        ];
        let zero = at_once.iter().find(|(_, count)| *count == 0).map(|(name, _)| *name);
        match zero.or_else(|| times.iter().find(|(_, seconds)| *seconds == 0).map(|(name, _)| *name)) {
            Some(name) => Err(format!("limits.{name} is 0, with which nothing could be served; choose 1 or more")),
            None => self.holds(self.body_bytes, "limits.body_bytes"),
        }
    }

    /// Whether a body of `bytes`, which the setting `name` allows, could ever be held.
    pub(super) fn holds(&self, bytes: usize, name: &str) -> Result<(), String> {
        // A body is counted three times: as it came, as it is sealed, as it leaves.
        let needed = bytes.saturating_mul(3);
        if needed > self.buffered_bytes.min(self.buffered_bytes_per_user) {
            return Err(format!(
                "limits.buffered_bytes and limits.buffered_bytes_per_user must be at least three times {name} \
                 ({needed}), or no large body could ever pass"
            ));
        }
        Ok(())
    }
}

impl Upstream {
    /// What no endpoint could live with.
    pub(super) fn check(&self) -> Result<(), String> {
        let times = [("connect_timeout_s", self.connect_timeout_s), ("handshake_timeout_s", self.handshake_timeout_s)];
        match times.iter().find(|(_, seconds)| *seconds == 0) {
            Some((name, _)) => Err(format!("upstream.{name} is 0, in which nothing can be reached; choose 1 or more")),
            None => Ok(()),
        }
    }
}
