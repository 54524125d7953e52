//! Loads and attaches the kernel programs; looks up flow records.
