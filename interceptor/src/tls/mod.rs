//! Both sides of TLS: the ClientHello read before anything is answered, leaves minted by the internal CA for the client,
//! and the endpoint verified against the system's roots.
//!
//! Whether a connection is intercepted or denied is decided between [`accept()`] and [`Hello::intercept`], by the caller.
//! Nothing in this room ever bypasses interception because a handshake failed.

mod accept;
mod alpn;
mod authority;
mod connect;
mod constraints;
mod endpoint;
mod fault;
mod hello;
mod leaf;
mod mint;
mod refusal;
mod roots;
mod rotation;
mod session;
#[cfg(test)]
mod tests;
mod verify;

pub use accept::{AcceptError, Hello, accept};
pub use alpn::Alpn;
pub use authority::{Authority, AuthorityError};
pub use connect::{ConnectError, UpstreamTls};
pub use endpoint::{EndpointFiles, EndpointTls, EndpointTlsError};
pub use fault::CertificateFault;
#[doc(hidden)]
pub use hello::fuzz_client_hello;
pub use leaf::{LeafCache, MintError};
pub use refusal::first_word;
pub use roots::{Roots, RootsError};
pub use rotation::{CaCertificate, CaDir, CaRole, RotationError, ca_certificates};
pub use rustls::AlertDescription;
pub use rustls::pki_types::{CertificateDer, DnsName, ServerName};
pub use session::Session;
pub use tokio_rustls::server::TlsStream as ServerStream;
#[doc(hidden)]
pub use verify::fuzz_ocsp;
