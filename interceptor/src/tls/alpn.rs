//! The application protocols that are spoken (RFC 7301).

/// One application protocol, as negotiated in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// `http/1.1`
    Http11,
    /// `h2`
    H2,
}

impl Alpn {
    /// The identifier on the wire.
    #[must_use]
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Http11 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }

    /// The protocol with this identifier on the wire.
    #[must_use]
    pub fn from_bytes(identifier: &[u8]) -> Option<Self> {
        [Self::Http11, Self::H2].into_iter().find(|alpn| alpn.as_bytes() == identifier)
    }

    /// What an endpoint is offered for a client that offers `identifiers`: the same, as far as it is spoken here, and
    /// HTTP/1.1 in any case, which requests can be translated to.
    #[must_use]
    pub fn offered(identifiers: &[Vec<u8>]) -> Vec<Self> {
        let mut offered = Vec::new();
        // Each once: what a client repeats would be passed on, and make one more of everything that is kept by this list.
        for alpn in identifiers.iter().filter_map(|identifier| Self::from_bytes(identifier)) {
            if !offered.contains(&alpn) {
                offered.push(alpn);
            }
        }
        if offered == [Self::H2] {
            offered.push(Self::Http11);
        }
        offered
    }

    pub(super) fn wire(list: &[Self]) -> Vec<Vec<u8>> {
        list.iter().map(|alpn| alpn.as_bytes().to_vec()).collect()
    }
}
