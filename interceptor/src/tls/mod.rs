//! The internal CA, leaves, the client side and the upstream side of TLS.
