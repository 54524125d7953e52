//! Dials the original destination, verifies it, and sends what may be sent.
