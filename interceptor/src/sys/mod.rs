//! The io_uring transport: one stream type that tokio-rustls can drive.
