//! Which protocols the endpoint offers in the TLS handshake (ALPN, RFC 7301).

use std::fmt;
use std::str::FromStr;

/// HTTP/2 over TLS (RFC 9113, section 3.2).
pub(crate) const H2: &[u8] = b"h2";

/// HTTP/1.1.
const HTTP_1_1: &[u8] = b"http/1.1";

/// A server that offers nothing, and leaves unanswered what the client offers.
const NOTHING: &str = "none";

/// What is offered, the preferred first; nothing when empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Offer(Vec<&'static [u8]>);

impl Offer {
    /// What the endpoint offers unless it is told: what it speaks itself, and what a plain-HTTP server behind it does.
    pub(crate) fn usual(forwards: bool) -> Self {
        Self(if forwards { vec![HTTP_1_1] } else { vec![H2, HTTP_1_1] })
    }

    /// As rustls takes it.
    pub(crate) fn protocols(&self) -> Vec<Vec<u8>> {
        self.0.iter().map(|name| name.to_vec()).collect()
    }
}

impl FromStr for Offer {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list == NOTHING {
            return Ok(Self(Vec::new()));
        }
        let known = |name: &str| match name {
            "h2" => Ok(H2),
            "http/1.1" => Ok(HTTP_1_1),
            other => Err(format!("{other:?} is not a protocol of the endpoint: h2, http/1.1, h2,http/1.1 or none")),
        };
        list.split(',').map(known).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NOTHING);
        }
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index > 0 { "," } else { "" }, name.escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_read() {
        for list in ["h2", "http/1.1", "h2,http/1.1", "http/1.1,h2", "none"] {
            assert_eq!(list.parse::<Offer>().unwrap().to_string(), list);
        }
        for bad in ["", "h3", "h2,", "h2,none", "H2"] {
            assert!(bad.parse::<Offer>().unwrap_err().contains("none"), "{bad}");
        }
    }
}
