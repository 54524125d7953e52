//! What the end-to-end tests share: running the lab and reading what it left.
