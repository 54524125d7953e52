//! Leaves: certificates minted for the name a client asked for, kept as long as they are of use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{DnsName, ServerName};
use rustls::server::{NoServerSessionStorage, ProducesTickets};

use super::authority::Authority;
use super::mint::{Leaves, Minter, VALIDITY};
use super::{Alpn, Hello};

/// A leaf with less time left is minted anew, so that a long-lived client never meets an expired one.
const RENEW_BEFORE: Duration = Duration::from_secs(61 * 86_400);

/// Leaves minted at once, before the rate limit bites.
const BURST: f64 = 64.0;

/// Leaves a second beyond the burst. Names are few and each is minted once a week: more is an attack.
const PER_SECOND: f64 = 16.0;

/// Server configurations by name, bounded in number and in the rate of new ones. Shared by all workers.
pub struct LeafCache {
    minter: Arc<Minter>,
    /// Which of the names that the authority covers are wanted.
    allowed: Box<dyn Fn(&str) -> bool + Send + Sync>,
    capacity: usize,
    provider: Arc<CryptoProvider>,
    /// Shared by all configurations and workers, so that a ticket is good wherever its client lands; rotated by rustls
    /// every six hours. A ticket is bound to its server name.
    ticketer: Arc<dyn ProducesTickets>,
    state: Mutex<State>,
}

struct State {
    leaves: HashMap<ServerName<'static>, Leaf>,
    /// Counts uses; the leaf with the lowest [`Leaf::used`] is evicted.
    clock: u64,
    bucket: Bucket,
}

struct Leaf {
    certificates: Arc<Leaves>,
    /// One for each list of protocols asked for so far: a handful at most.
    configs: Vec<(Vec<Alpn>, Arc<ServerConfig>)>,
    renew_at: SystemTime,
    used: u64,
}

/// A token bucket.
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Why there is no leaf for a name.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The CA's own constraints would make clients refuse the leaf.
    #[error("the internal CA may not sign for '{name}': it is not among the enrolled names")]
    NotCovered {
        /// The name, or the address.
        name: String,
    },
    /// Too many new names in a short time.
    #[error("too many new server names at once; no leaf was minted for '{name}'")]
    TooFast {
        /// The name.
        name: String,
    },
    /// The certificate could not be made.
    #[error("cannot mint a leaf: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused the leaf or the key.
    #[error("cannot use the leaf: {0}")]
    Tls(#[from] rustls::Error),
}

impl LeafCache {
    /// An empty cache of at most `capacity` names.
    ///
    /// # Errors
    /// When the key of the leaves or of the session tickets cannot be made.
    pub fn new(authority: Arc<Authority>, capacity: usize) -> Result<Self, MintError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let minter = Arc::new(Minter::new(authority, Arc::clone(&provider))?);
        let bucket = Bucket { tokens: BURST, filled: Instant::now() };
        let state = Mutex::new(State { leaves: HashMap::new(), clock: 0, bucket });
        let allowed = Box::new(|_: &str| true);
        Ok(Self { minter, allowed, capacity: capacity.max(1), provider, ticketer: Ticketer::new()?, state })
    }

    /// Mints leaves only for names and addresses that are `allowed` besides being covered: the authority's constraints
    /// are subtrees, and for a name with a wildcard in it the subtree holds many others.
    #[must_use]
    pub fn only_for(self, allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { allowed: Box::new(allowed), ..self }
    }

    /// Gets ready for a client that can verify no ECDSA. The first one of this process costs a key, which is made where
    /// it holds nobody else up; without this it is made in the middle of that client's handshake.
    pub async fn prepare<IO>(&self, hello: &Hello<IO>) {
        if !hello.knows_no_ecdsa || self.minter.has_rsa_key() {
            return;
        }
        let minter = Arc::clone(&self.minter);
        if let Err(error) = tokio::task::spawn_blocking(move || minter.make_rsa_key()).await {
            log::error!("the key for RSA leaves was not made: {error}");
        }
    }

    /// What to answer a client with that asked for `name`, speaking `alpn` in order of preference: TLS 1.2 and 1.3, a
    /// leaf for that one name, with an ECDSA key or, where the client can verify none, an RSA key.
    ///
    /// With protocols in `alpn`, a client that offers some must share one, or it is told `no_application_protocol`; one
    /// that offers none is served. With none, none is chosen whatever the client offers (RFC 7301, section 3.2: the
    /// extension is left out), as an endpoint does that knows nothing of them.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn server_config(&self, name: &DnsName<'_>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, MintError> {
        self.server_config_for(&ServerName::DnsName(name.to_lowercase_owned()), alpn)
    }

    /// The same for a client that may have asked for an address instead, and so for none by name.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn server_config_for(&self, name: &ServerName<'_>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, MintError> {
        let name = match name {
            ServerName::DnsName(name) => ServerName::DnsName(name.to_lowercase_owned()),
            other => other.to_owned(),
        };
        // A panic while minting leaves the map whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let clock = state.clock;
        if state.leaves.get(&name).is_none_or(|leaf| SystemTime::now() >= leaf.renew_at) {
            let text = name.to_str();
            if !self.minter.authority().covers(&text) || !(self.allowed)(&text) {
                return Err(MintError::NotCovered { name: text.into() });
            }
            if !state.bucket.take(Instant::now()) {
                return Err(MintError::TooFast { name: text.into() });
            }
            let leaf = self.mint(&name)?;
            state.make_room(self.capacity, &name);
            state.leaves.insert(name.clone(), leaf);
        }
        let leaf = state.leaves.get_mut(&name).expect("found or just inserted");
        leaf.used = clock;
        if let Some((_, config)) = leaf.configs.iter().find(|(list, _)| list == alpn) {
            return Ok(Arc::clone(config));
        }
        let config = self.configure(&leaf.certificates, alpn)?;
        leaf.configs.push((alpn.to_vec(), Arc::clone(&config)));
        Ok(config)
    }

    #[cfg(test)]
    pub(super) fn has_rsa_key(&self) -> bool {
        self.minter.has_rsa_key()
    }

    /// How many names are cached.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().unwrap().leaves.len()
    }

    fn mint(&self, name: &ServerName<'static>) -> Result<Leaf, MintError> {
        let renew_at = SystemTime::now() + (VALIDITY - RENEW_BEFORE);
        let certificates = Arc::new(self.minter.leaves(name.clone())?);
        Ok(Leaf { certificates, configs: Vec::new(), renew_at, used: 0 })
    }

    fn configure(&self, certificates: &Arc<Leaves>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, MintError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(certificates) as _);
        config.alpn_protocols = Alpn::wire(alpn);
        // The suites in our order of preference, which is from strong to less so.
        config.ignore_client_order = true;
        config.ticketer = Arc::clone(&self.ticketer);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl State {
    fn make_room(&mut self, capacity: usize, name: &ServerName<'static>) {
        if self.leaves.len() < capacity || self.leaves.contains_key(name) {
            return;
        }
        // A walk over all of them, but only when a name beyond the capacity is minted, which costs more.
        let oldest = self.leaves.iter().min_by_key(|(_, leaf)| leaf.used).map(|(name, _)| name.clone());
        if let Some(oldest) = oldest {
            self.leaves.remove(&oldest);
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * PER_SECOND).min(BURST);
        self.filled = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

impl std::fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafCache").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
