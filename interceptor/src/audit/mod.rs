//! The sealed, tamper-evident log.
