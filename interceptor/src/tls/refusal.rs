//! How clients say that they do not trust the internal CA: by an alert in the handshake, by one after it, or not at all.

use std::io;

use rustls::AlertDescription;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};

use super::{AcceptError, ServerStream};

/// Why a handshake failed, in which `error` ended it.
pub(super) fn in_handshake(error: io::Error) -> AcceptError {
    match inner(&error) {
        Some(&rustls::Error::AlertReceived(alert)) => by_alert(alert),
        Some(error) => AcceptError::Protocol(error.clone()),
        None if is_gone(&error) => AcceptError::ClosedInHandshake,
        None => AcceptError::Io(error),
    }
}

/// Waits for the first byte after the handshake, and leaves it to be read.
///
/// # Errors
/// A client that sends none: it refused the certificate, or left without a word.
///
/// A client of TLS 1.3 sends its last message of the handshake together with what it thinks of ours, and one that looks
/// at the certificate by itself (GnuTLS' clients, Node) does so when the handshake is over. None of them gets as far as
/// a byte of a request.
pub async fn first_word<IO>(client: &mut ServerStream<IO>) -> Result<(), AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    match client.fill_buf().await {
        Ok([]) => Err(AcceptError::ClosedAfterHandshake),
        Ok(_) => Ok(()),
        Err(error) => Err(match in_handshake(error) {
            AcceptError::ClosedInHandshake => AcceptError::ClosedAfterHandshake,
            other => other,
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_about_the_certificate_are_told_from_others() {
        let heard = |alert| in_handshake(io::Error::other(rustls::Error::AlertReceived(alert)));
        for alert in
            [AlertDescription::UnknownCA, AlertDescription::BadCertificate, AlertDescription::CertificateUnknown]
        {
            assert!(matches!(heard(alert), AcceptError::ClientRefusedCa { alert: said } if said == alert));
        }
        for alert in
            [AlertDescription::ProtocolVersion, AlertDescription::InternalError, AlertDescription::UserCanceled]
        {
            assert!(matches!(heard(alert), AcceptError::ClientAlert { alert: said } if said == alert));
        }
    }
}
