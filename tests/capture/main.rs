//! The kernel programs, attached to a cgroup of the test's own, with real clients. Needs root.

mod backstop;
mod established;
mod host;
mod identity;
mod learnt;
mod lifecycle;
mod missing;
mod modes;
mod rows;
mod storm;
mod table;
mod ways;
