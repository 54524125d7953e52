//! Handshakes against rustls and OpenSSL, good and bad.
