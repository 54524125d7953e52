//! A strict HTTP/1.1 codec that keeps heads byte-exact.
