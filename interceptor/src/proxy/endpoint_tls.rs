//! What TLS with each configured endpoint has of its own, read once, when the daemon starts.

use std::collections::HashMap;
use std::sync::Arc;

use crate::capture::{Catalogue, Endpoint, TlsFiles};
use crate::tls::{EndpointFiles, EndpointTls, EndpointTlsError};

/// Client certificates and roots by the files that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct EndpointsTls(HashMap<TlsFiles, Arc<EndpointTls>>);

/// An endpoint whose files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {endpoint}: {source}")]
pub struct UnusableTls {
    endpoint: String,
    source: EndpointTlsError,
}

impl EndpointsTls {
    /// Reads the files of all endpoints. `own` are the certificates of the internal CA.
    ///
    /// # Errors
    /// [`UnusableTls`], which names the endpoint and the file.
    pub fn load(catalogue: &Catalogue, own: &[crate::tls::CertificateDer<'_>]) -> Result<Self, UnusableTls> {
        let mut loaded = HashMap::new();
        for endpoint in catalogue.endpoints().filter(|endpoint| !endpoint.tls.is_empty()) {
            let client = endpoint.tls.client.as_ref();
            let files = EndpointFiles {
                client_certificate: client.map(|client| (client.certificate.as_path(), client.key.as_path())),
                roots: &endpoint.tls.roots,
            };
            let tls = EndpointTls::load(&files, own);
            let tls = tls.map_err(|source| UnusableTls { endpoint: endpoint.to_string(), source })?;
            loaded.insert(endpoint.tls.clone(), Arc::new(tls));
        }
        Ok(Self(loaded))
    }

    /// What `endpoint` has of its own.
    #[must_use]
    pub fn of(&self, endpoint: &Endpoint) -> Option<Arc<EndpointTls>> {
        self.0.get(&endpoint.tls).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_the_files_that_it_names_and_an_unusable_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&root, rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()).unwrap();
        let endpoint = |name: &str, more: &str| -> Endpoint {
            toml::from_str(&format!("provider = 'openai'\nnames = ['{name}']\n{more}")).unwrap()
        };
        let private = endpoint("a.test", &format!("roots = ['{}']", root.display()));
        let catalogue = Catalogue::new(&[private.clone(), endpoint("b.test", "")], None);
        let loaded = EndpointsTls::load(&catalogue, &[]).unwrap();
        assert!(loaded.of(&private).is_some());
        assert!(loaded.of(&endpoint("b.test", "")).is_none());
        let broken = endpoint("c.test", "client_certificate = '/nonexistent.pem'\nclient_key = '/nonexistent.key'");
        let message = EndpointsTls::load(&Catalogue::new(&[broken], None), &[]).unwrap_err().to_string();
        assert!(message.contains("c.test") && message.contains("/nonexistent.pem"), "{message}");
    }
}
