//! The first decision about a connection: is it read, passed on unread, or ended?
//!
//! It is made once, from what the client says before anything is answered. Names decide, not addresses: an endpoint's
//! address serves other names too, and an endpoint can be reached at addresses that nobody enrolled.

use serde::{Deserialize, Serialize};

use super::Matcher;

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Why the connection is here.
    pub captured: Captured,
    /// The port it was meant for; of a tunnel, the tunnel's.
    pub port: u16,
    /// The first thing the client said.
    pub said: Said<'a>,
    /// The tunnel it is in, when a proxy was asked for one.
    pub tunnel: Option<Tunnel<'a>>,
    /// Who connected.
    pub caller: Who<'a>,
}

/// Why a connection is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captured {
    /// Its destination is enrolled as a model endpoint's.
    Enrolled,
    /// Everything of its cgroup is, or its destination is an enrolled HTTP proxy.
    Strict,
}

/// The first thing a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// Nothing: it waits for the server.
    Nothing,
    /// A TLS hello.
    Tls {
        /// The server name in it, in lower case.
        name: Option<&'a str>,
        /// What the catalogue says about that name.
        known: Known,
        /// Whether an Encrypted ClientHello is offered, real or not.
        ech: bool,
    },
    /// A request of HTTP/1.
    Http {
        /// The host it is for, in lower case, without the port.
        host: Option<&'a str>,
        /// What the catalogue says about that host, or about the destination's address.
        known: Known,
    },
    /// A request to a SOCKS server, of version 4, 4a or 5 (RFC 1928): whom it is for is said later, and not looked for.
    Socks,
    /// Something else.
    Other,
}

/// What the catalogue says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// No endpoint.
    Foreign,
    /// An endpoint with TLS on this port.
    Tls,
    /// An endpoint with plain HTTP on this port.
    Plain,
    /// An endpoint, but not on this port.
    OtherPort,
    /// No endpoint, but the name that stands in for others where they are encrypted (ECH).
    Public,
}

impl Known {
    /// Whether it is one, even if it cannot be reached like this.
    #[must_use]
    pub fn is_endpoint(self) -> bool {
        matches!(self, Self::Tls | Self::Plain | Self::OtherPort)
    }
}

/// What a proxy was asked to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel<'a> {
    /// The host in the CONNECT request, in lower case.
    pub host: &'a str,
    /// What the catalogue says about it.
    pub known: Known,
}

impl Tunnel<'_> {
    /// Whether the proxy was asked for an address, not a name.
    fn is_to_address(&self) -> bool {
        self.host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
    }
}

/// The caller, as far as rules can name it. What is not known matches no condition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// Path of the executable, as its own mount namespace names it.
    pub exe: Option<&'a str>,
    /// SHA-256 of the executable, in hexadecimal.
    pub exe_sha256: Option<&'a str>,
    /// Whether the kernel saw it run that among the daemon's own mounts. Anybody may make a mount namespace, and in it put
    /// any file at any path.
    pub own_mounts: bool,
    /// Name of the user.
    pub user: Option<&'a str>,
    /// Path of the cgroup.
    pub cgroup: Option<&'a str>,
    /// Id of the container.
    pub container: Option<&'a str>,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// It is read: TLS ended, requests masked and recorded one by one.
    Intercept,
    /// It is passed on as it is, and recorded as that.
    Splice,
    /// It is ended.
    Deny,
}

/// The answer, with the rule that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What happens.
    pub treatment: Treatment,
    /// The rule: a configured one's name, or `connection.…`.
    pub rule: String,
    /// In words; says what can be done about a denial.
    pub reason: String,
    /// The rule looked at nothing that a later request on the connection could change.
    pub for_all: bool,
}

/// A `[[connection]]`: all conditions given must hold; a condition left out always does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionRule {
    /// Stands in the record.
    pub name: String,
    /// Names asked for: in the TLS hello, in the Host of plain HTTP, or of a proxy.
    #[serde(default)]
    pub sni: Vec<Matcher>,
    /// Paths of executables.
    #[serde(default)]
    pub exe: Vec<Matcher>,
    /// SHA-256 of executables, in hexadecimal.
    #[serde(default)]
    pub exe_sha256: Vec<String>,
    /// Calling users.
    #[serde(default)]
    pub user: Vec<Matcher>,
    /// Paths of cgroups.
    #[serde(default)]
    pub cgroup: Vec<Matcher>,
    /// Container ids.
    #[serde(default)]
    pub container: Vec<Matcher>,
    /// Destination ports.
    #[serde(default)]
    pub port: Vec<u16>,
    /// What happens.
    pub action: Treatment,
}

/// The `[strict]` table: what happens to captured connections that are not to an enrolled destination.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Strict {
    /// TLS without a server name: whom it is for cannot be told.
    pub no_name: NoName,
    /// Names that stand in for encrypted ones (ECH), besides those that are known: the name inside cannot be read.
    pub ech_public_names: Vec<Matcher>,
}

/// What happens to TLS without a server name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NoName {
    /// It is ended.
    #[default]
    Deny,
    /// It is passed on unread.
    Splice,
}

/// Decides about connections. Immutable; shared by the workers.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    rules: Vec<ConnectionRule>,
    strict: Strict,
}

impl Connections {
    /// With the configured rules, first match first.
    #[must_use]
    pub fn new(rules: Vec<ConnectionRule>, strict: Strict) -> Self {
        Self { rules, strict }
    }

    /// What happens to a connection. The first rule that matches decides; without one, a name of the catalogue is
    /// intercepted, an enrolled destination is for such names only, and what else is captured is passed on.
    #[must_use]
    pub fn decide(&self, opening: &Opening<'_>) -> Sentence {
        self.ruled(opening).unwrap_or_else(|| self.by_default(opening))
    }

    /// What the first configured rule that matches says.
    #[must_use]
    pub fn ruled(&self, opening: &Opening<'_>) -> Option<Sentence> {
        self.rules.iter().find(|rule| rule.applies(opening)).map(|rule| rule.sentence(opening))
    }

    fn by_default(&self, opening: &Opening<'_>) -> Sentence {
        match opening.tunnel {
            Some(tunnel) if tunnel.known.is_endpoint() && !opening.is_for_endpoint(tunnel.host) => Sentence::deny(
                "connection.tunnel",
                format!("{} was to be reached through the proxy, so TLS must follow that names it", tunnel.host),
            ),
            // Where an address leads is not known here: it may be an endpoint's, behind another name.
            Some(tunnel) if !tunnel.known.is_endpoint() && tunnel.is_to_address() => Sentence::deny(
                "connection.tunnel_address",
                format!("the proxy was asked for the address {}; ask it for a name", tunnel.host),
            ),
            _ => match opening.said {
                Said::Tls { name, known, ech } => self.tls(opening, name, known, ech),
                Said::Http { host, known } => http(opening, host, known),
                Said::Nothing | Said::Socks | Said::Other if opening.captured == Captured::Enrolled => Sentence::deny(
                    "connection.protocol",
                    "only TLS, and HTTP where it is configured, reach an endpoint",
                ),
                // It would hide where the connection goes, as CONNECT would if it were not read.
                Said::Socks => Sentence::deny(
                    "connection.socks",
                    "a SOCKS proxy is not looked into; use an HTTP proxy, or pass this one on by a [[connection]] rule",
                ),
                Said::Nothing => Sentence::splice("connection.server_first"),
                Said::Other => Sentence::splice("connection.other_protocol"),
            },
        }
    }

    fn tls(&self, opening: &Opening<'_>, name: Option<&str>, known: Known, ech: bool) -> Sentence {
        let enrolled = opening.captured == Captured::Enrolled;
        let Some(name) = name else {
            return match self.strict.no_name {
                NoName::Splice if !enrolled => Sentence::splice("strict.no_name"),
                _ => Sentence::deny(
                    if enrolled { "connection.no_name" } else { "strict.no_name" },
                    "the TLS hello names no server; a model endpoint is only reached by name",
                ),
            };
        };
        match known {
            Known::Tls if opening.tunnel.is_some_and(|tunnel| tunnel.host != name) => Sentence::deny(
                "connection.tunnel",
                format!("TLS for {name} in a tunnel to another host; ask the proxy for {name}"),
            ),
            Known::Tls => Sentence::intercept("connection.endpoint"),
            Known::Plain => Sentence::deny(
                "connection.protocol",
                format!("{name} is configured with plain HTTP on port {}, but the client speaks TLS", opening.port),
            ),
            Known::OtherPort => Sentence::deny(
                "connection.port",
                format!("{name} is an endpoint, but not on port {}; add the port to its `ports`", opening.port),
            ),
            Known::Public | Known::Foreign if ech && self.hides(name, known) => Sentence::deny(
                "strict.ech_public_names",
                format!("{name} only stands for an encrypted name; switch Encrypted ClientHello off in the client"),
            ),
            Known::Public | Known::Foreign if enrolled => Sentence::deny(
                "connection.foreign_name",
                format!("{name} is not an enrolled endpoint, but the address belongs to one"),
            ),
            Known::Public | Known::Foreign => Sentence::splice("connection.foreign_name"),
        }
    }

    /// Whether `name` is known to stand for encrypted ones.
    fn hides(&self, name: &str, known: Known) -> bool {
        known == Known::Public || self.strict.ech_public_names.iter().any(|public| public.matches(name))
    }
}

fn http(opening: &Opening<'_>, host: Option<&str>, known: Known) -> Sentence {
    let name = host.unwrap_or("it");
    match known {
        Known::Plain => Sentence::intercept("connection.endpoint"),
        Known::Tls => Sentence::deny("connection.protocol", format!("{name} is reached by HTTPS only")),
        Known::OtherPort => Sentence::deny(
            "connection.port",
            format!("{name} is an endpoint, but not with plain HTTP on port {}", opening.port),
        ),
        Known::Public | Known::Foreign if opening.captured == Captured::Enrolled => {
            Sentence::deny("connection.protocol", "this endpoint is reached by HTTPS only")
        }
        Known::Public | Known::Foreign => Sentence::splice("connection.foreign_name"),
    }
}

impl Opening<'_> {
    /// The name asked for, wherever it stands.
    fn name(&self) -> Option<&str> {
        match self.said {
            Said::Tls { name, .. } => name,
            Said::Http { host, .. } => host,
            Said::Nothing | Said::Socks | Said::Other => None,
        }
        .or(self.tunnel.map(|tunnel| tunnel.host))
    }

    /// Whether it is TLS for the endpoint `host`.
    fn is_for_endpoint(&self, host: &str) -> bool {
        self.is_for(host) && matches!(self.said, Said::Tls { known, .. } if known.is_endpoint())
    }

    fn is_for(&self, host: &str) -> bool {
        matches!(self.said, Said::Tls { name: Some(name), .. } if name == host)
    }

    fn can_be_read(&self) -> bool {
        let tunnelled = self.tunnel.is_none_or(|tunnel| self.is_for(tunnel.host));
        match self.said {
            Said::Tls { known, .. } => known == Known::Tls && tunnelled,
            Said::Http { known, .. } => known == Known::Plain && self.tunnel.is_none(),
            Said::Nothing | Said::Socks | Said::Other => false,
        }
    }
}

impl ConnectionRule {
    fn applies(&self, opening: &Opening<'_>) -> bool {
        let fits = |patterns: &[Matcher], value: Option<&str>| {
            patterns.is_empty() || value.is_some_and(|value| patterns.iter().any(|pattern| pattern.matches(value)))
        };
        let Who { exe, exe_sha256, own_mounts, user, cgroup, container } = opening.caller;
        // What a caller can arrange for itself counts against it, never for it.
        let held_against = self.action == Treatment::Deny;
        let ran = held_against || own_mounts;
        let named = held_against || !self.user.is_empty() || !cgroup.is_some_and(is_named_by_user);
        let digest = exe_sha256.filter(|_| ran);
        fits(&self.sni, opening.name())
            && fits(&self.exe, exe.filter(|_| ran))
            && (self.exe_sha256.is_empty()
                || digest.is_some_and(|ran| self.exe_sha256.iter().any(|digest| digest.eq_ignore_ascii_case(ran))))
            && fits(&self.user, user)
            && (self.cgroup.is_empty()
                || cgroup.is_some_and(|path| {
                    self.cgroup.iter().any(|pattern| pattern.matches(path) && (named || !pattern.0.contains('*')))
                }))
            && fits(&self.container, container.filter(|_| named))
            && (self.port.is_empty() || self.port.contains(&opening.port))
    }

    fn sentence(&self, opening: &Opening<'_>) -> Sentence {
        let for_all = self.sni.is_empty() && self.port.is_empty();
        match self.action {
            Treatment::Splice => {
                let reason = "a connection rule of this host passes it on unread";
                Sentence { for_all, ..Sentence::new(Treatment::Splice, &self.name, reason) }
            }
            Treatment::Deny => {
                Sentence { for_all, ..Sentence::deny(&self.name, "a connection rule of this host forbids it") }
            }
            Treatment::Intercept if opening.can_be_read() => Sentence::intercept(&self.name),
            Treatment::Intercept => {
                Sentence::deny(&self.name, "it is to be intercepted, but what it is for is no endpoint")
            }
        }
    }

    /// # Errors
    /// What is wrong with the rule.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("a connection rule has an empty name; records refer to rules by name".into());
        }
        if let Some(digest) = self.exe_sha256.iter().find(|text| !is_sha256(text)) {
            return Err(format!(
                "connection rule {:?} has {digest:?} in `exe_sha256`, which is no SHA-256; sha256sum(1) prints its 64 \
                 hexadecimal digits",
                self.name
            ));
        }
        if self.action != Treatment::Splice {
            return Ok(());
        }
        let by_caller = [&self.user, &self.cgroup, &self.container].iter().any(|patterns| !patterns.is_empty())
            || !self.exe_sha256.is_empty();
        if !self.exe.is_empty() && !by_caller {
            return Err(format!(
                "connection rule {:?} would pass on unread whatever runs a program at that path, with any code loaded into \
                 it; besides `exe`, give it `user`, `cgroup` or `exe_sha256`",
                self.name
            ));
        }
        if !by_caller && self.sni.is_empty() && self.port.is_empty() {
            return Err(format!(
                "connection rule {:?} would pass every connection on unread; give it a condition",
                self.name
            ));
        }
        Ok(())
    }
}

/// Whether the path of a cgroup goes through what systemd gives to a user: who that is stands in the path, but the names
/// below are the user's choice, those of containers too.
fn is_named_by_user(path: &str) -> bool {
    path.split('/').any(|name| {
        let manager = name.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
        let slice = || name.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice"));
        manager.or_else(slice).is_some()
    })
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Sentence {
    /// That a tunnel may be opened: what comes through it is decided once it has said something.
    #[must_use]
    pub fn tunnel() -> Self {
        Self::splice("connection.foreign_name")
    }

    fn new(treatment: Treatment, rule: &str, reason: impl Into<String>) -> Self {
        Self { treatment, rule: rule.to_owned(), reason: reason.into(), for_all: false }
    }

    fn intercept(rule: &str) -> Self {
        Self::new(Treatment::Intercept, rule, "")
    }

    fn splice(rule: &str) -> Self {
        Self::new(Treatment::Splice, rule, "it is not for an endpoint, so it is passed on unread")
    }

    fn deny(rule: &str, reason: impl Into<String>) -> Self {
        Self::new(Treatment::Deny, rule, reason)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
