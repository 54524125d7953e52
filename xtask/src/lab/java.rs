//! Java's trust stores. Debian keeps one for all of its JDKs and adds to it what is added to the system's bundle; the
//! lab does the same, without the second that keytool(1) would take at each start.
//!
//! The format is the JDK's own, "JKS": a head, an entry for each certificate, and a digest over both.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;

/// Where stores are: Debian's, and those of JDKs that bring their own.
const SHARED: &str = "/etc/ssl/certs/java/cacerts";
const JDKS: &str = "/usr/lib/jvm";
const IN_JDK: [&str; 2] = ["lib/security/cacerts", "jre/lib/security/cacerts"];

/// The password everybody uses; it protects nothing but the digest.
const PASSWORD: &str = "changeit";

const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const TRUSTED_CERTIFICATE: u32 = 2;

/// The trust stores of this system, each once.
pub(super) fn stores() -> Vec<PathBuf> {
    let jdks = fs::read_dir(JDKS).into_iter().flatten().flatten().map(|entry| entry.path());
    let jdks = jdks.chain(std::env::var_os("JAVA_HOME").map(PathBuf::from));
    let own = jdks.flat_map(|jdk| IN_JDK.map(|store| jdk.join(store)));
    let mut found: Vec<PathBuf> = own.chain([SHARED.into()]).filter_map(|path| path.canonicalize().ok()).collect();
    found.sort();
    found.dedup();
    found
}

/// A trust store of the certificates in a PEM file.
pub(super) fn store_of(bundle: &Path) -> Result<Vec<u8>> {
    let pem = fs::read(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    let certificates: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    store(&certificates.with_context(|| format!("{} is not PEM", bundle.display()))?)
}

fn store(certificates: &[CertificateDer<'_>]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in [MAGIC, VERSION, u32::try_from(certificates.len())?] {
        bytes.extend(number.to_be_bytes());
    }
    for (index, certificate) in certificates.iter().enumerate() {
        bytes.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut bytes, &format!("lab-{index}"))?;
        // When it was added: milliseconds since 1970, which nobody looks at.
        bytes.extend(0_u64.to_be_bytes());
        text(&mut bytes, "X.509")?;
        bytes.extend(u32::try_from(certificate.len())?.to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    // The words between password and content are the format's own.
    let mut protected: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    protected.extend(b"Mighty Aphrodite");
    protected.extend(&bytes);
    bytes.extend(digest(&SHA1_FOR_LEGACY_USE_ONLY, &protected).as_ref());
    Ok(bytes)
}

fn text(bytes: &mut Vec<u8>, text: &str) -> Result<()> {
    bytes.extend(u16::try_from(text.len())?.to_be_bytes());
    bytes.extend(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_head_entries_and_digest() {
        let bytes = store(&[CertificateDer::from(vec![0xaa, 0xbb])]).unwrap();
        let (content, digest) = bytes.split_at(bytes.len() - 20);
        let head = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01";
        let entry = b"\0\0\0\x02\0\x05lab-0\0\0\0\0\0\0\0\0\0\x05X.509\0\0\0\x02\xaa\xbb";
        assert_eq!(content, [&head[..], &entry[..]].concat());
        // As `keytool -list -storepass changeit` computes it.
        assert_eq!(digest.len(), SHA1_FOR_LEGACY_USE_ONLY.output_len());
    }
}
