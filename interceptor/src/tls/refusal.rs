//! How clients say that they do not trust the internal CA: by an alert in the handshake, by one after it, or not at all.

use std::io;

use rustls::AlertDescription;

use super::AcceptError;

/// Why a handshake failed, in which `error` ended it.
pub(super) fn in_handshake(error: io::Error) -> AcceptError {
    match inner(&error) {
        Some(&rustls::Error::AlertReceived(alert)) => by_alert(alert),
        Some(error) => AcceptError::Protocol(error.clone()),
        None if is_gone(&error) => AcceptError::ClosedInHandshake,
        None => AcceptError::Io(error),
    }
}

/// What the first read after the handshake says about a client that sent no request: that it refused the certificate,
/// or left without a word.
///
/// A client of TLS 1.3 sends its last message of the handshake together with what it thinks of ours, and one that looks
/// at the certificate by itself (GnuTLS' clients, Node) does so when the handshake is over. None of them gets as far as
/// a byte of a request.
#[must_use]
pub fn after_handshake(read: &io::Result<usize>) -> Option<AcceptError> {
    match read {
        Ok(1..) => None,
        Ok(0) => Some(AcceptError::ClosedAfterHandshake),
        Err(error) => match inner(error) {
            Some(&rustls::Error::AlertReceived(alert)) => Some(by_alert(alert)),
            Some(error) => Some(AcceptError::Protocol(error.clone())),
            None if is_gone(error) => Some(AcceptError::ClosedAfterHandshake),
            None => Some(AcceptError::Io(io::Error::new(error.kind(), error.to_string()))),
        },
    }
}

fn by_alert(alert: AlertDescription) -> AcceptError {
    if refuses_certificate(alert) { AcceptError::ClientRefusedCa { alert } } else { AcceptError::ClientAlert { alert } }
}

fn inner(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The alerts with which clients refuse a certificate they cannot chain to a root of theirs: OpenSSL and GnuTLS send
/// `unknown_ca`, Go `bad_certificate`, Java and NSS `certificate_unknown`.
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
    )
}
