//! The host's clocks: the wall clock can be set, the time since boot cannot.

use std::fs;

use nix::time::{ClockId, clock_gettime};

use super::Time;

/// What they say at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Nanoseconds since 1970.
    pub(crate) wall_ns: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub(crate) boottime_ns: u64,
    /// Which boot that counts from.
    pub(crate) boot_id: [u8; 16],
}

impl Clocks {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { wall_ns: Time::now().unix_ns(), boottime_ns: boottime_ns(), boot_id: boot_id() }
    }
}

/// Nanoseconds since boot, suspended time included.
pub(crate) fn boottime_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// The kernel's name of this boot; zeros when it does not say.
pub(crate) fn boot_id() -> [u8; 16] {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| hex::decode(text.trim().replace('-', "")).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or_default()
}
