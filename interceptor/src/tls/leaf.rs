//! Leaves: certificates minted for the name a client asked for, kept as long as they are of use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use super::Alpn;
use super::authority::{Authority, BACKDATE, serial};

const VALIDITY: Duration = Duration::from_secs(7 * 86_400);

/// A leaf with less time left is minted anew, so that a long-lived client never meets an expired one.
const RENEW_BEFORE: Duration = Duration::from_secs(86_400);

/// Leaves minted at once, before the rate limit bites.
const BURST: f64 = 64.0;

/// Leaves a second beyond the burst. Names are few and each is minted once a week: more is an attack.
const PER_SECOND: f64 = 16.0;

/// Longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// Server configurations by name, bounded in number and in the rate of new ones. Shared by all workers.
pub struct LeafCache {
    authority: Arc<Authority>,
    /// Which of the names that the authority covers are wanted.
    allowed: Box<dyn Fn(&str) -> bool + Send + Sync>,
    capacity: usize,
    /// One key for all leaves of this process. It never leaves its memory, so whoever could read one leaf's key could
    /// read all of them: separate keys would cost a generation each and protect nothing.
    key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    /// Shared by all configurations and workers, so that a ticket is good wherever its client lands; rotated by rustls
    /// every six hours. A ticket is bound to its server name.
    ticketer: Arc<dyn ProducesTickets>,
    state: Mutex<State>,
}

struct State {
    leaves: HashMap<DnsName<'static>, Leaf>,
    /// Counts uses; the leaf with the lowest [`Leaf::used`] is evicted.
    clock: u64,
    bucket: Bucket,
}

struct Leaf {
    certified: Arc<CertifiedKey>,
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
        /// The name.
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
        let key = KeyPair::generate()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing_key = provider.key_provider.load_private_key(der)?;
        let bucket = Bucket { tokens: BURST, filled: Instant::now() };
        let state = Mutex::new(State { leaves: HashMap::new(), clock: 0, bucket });
        let allowed = Box::new(|_: &str| true);
        Ok(Self {
            authority,
            allowed,
            capacity: capacity.max(1),
            key,
            signing_key,
            provider,
            ticketer: Ticketer::new()?,
            state,
        })
    }

    /// Mints leaves only for names that are `allowed` besides being covered: the authority's constraints are subtrees,
    /// and for a name with a wildcard in it the subtree holds many others.
    #[must_use]
    pub fn only_for(self, allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { allowed: Box::new(allowed), ..self }
    }

    /// What to answer a client with that asked for `name`, speaking `alpn` in order of preference: TLS 1.2 and 1.3, a
    /// leaf for that one name. A client that offers application protocols must share one; one that offers none is
    /// served.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn server_config(&self, name: &DnsName<'_>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, MintError> {
        let name = name.to_lowercase_owned();
        // A panic while minting leaves the map whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let clock = state.clock;
        if state.leaves.get(&name).is_none_or(|leaf| SystemTime::now() >= leaf.renew_at) {
            if !self.authority.covers(name.as_ref()) || !(self.allowed)(name.as_ref()) {
                return Err(MintError::NotCovered { name: name.as_ref().into() });
            }
            if !state.bucket.take(Instant::now()) {
                return Err(MintError::TooFast { name: name.as_ref().into() });
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
        let config = self.configure(&leaf.certified, alpn)?;
        leaf.configs.push((alpn.to_vec(), Arc::clone(&config)));
        Ok(config)
    }

    /// How many names are cached.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().unwrap().leaves.len()
    }

    fn mint(&self, name: &DnsName<'static>) -> Result<Leaf, MintError> {
        let now = SystemTime::now();
        let text: &str = name.as_ref();
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + VALIDITY).into();
        params.serial_number = Some(serial());
        params.subject_alt_names = vec![SanType::DnsName(text.try_into()?)];
        params.distinguished_name = rcgen::DistinguishedName::new();
        if text.len() <= MAX_COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, text);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf: CertificateDer<'static> = params.signed_by(&self.key, self.authority.issuer())?.into();
        // The CA goes along for clients that were given it as an intermediate.
        let chain = vec![leaf, self.authority.certificate_der().clone()];
        let certified = Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing_key)));
        Ok(Leaf { certified, configs: Vec::new(), renew_at: now + (VALIDITY - RENEW_BEFORE), used: 0 })
    }

    fn configure(&self, certified: &Arc<CertifiedKey>, alpn: &[Alpn]) -> Result<Arc<ServerConfig>, MintError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))));
        config.alpn_protocols = Alpn::wire(alpn);
        config.ticketer = Arc::clone(&self.ticketer);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

impl State {
    fn make_room(&mut self, capacity: usize, name: &DnsName<'static>) {
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
