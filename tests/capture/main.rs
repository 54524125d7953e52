//! The kernel programs, attached to a cgroup of the test's own, with real clients. Needs root.

mod backstop;
mod host;
mod lifecycle;
mod missing;
mod modes;
mod ways;
