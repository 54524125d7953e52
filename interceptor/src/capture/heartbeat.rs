//! The daemon's sign of life, read by the programs at every captured connection.

use std::time::Duration;

use aya::maps::{Array, MapData};
use interceptor_ebpf::names;

use super::{BootTime, Error};

/// Writes the daemon's sign of life.
pub struct Heartbeat(pub(super) Array<MapData, u64>);

impl Heartbeat {
    /// How often a worker proves that it is alive.
    pub const EVERY: Duration = Duration::from_millis(250);

    /// Without a beat for this long the daemon counts as dead or hung.
    pub const STALE_AFTER: Duration = Duration::from_secs(2);

    /// Says that the daemon was alive at `at`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn beat(&mut self, at: BootTime) -> Result<(), Error> {
        self.0.set(0, at.as_nanos(), 0).map_err(Error::map(names::HEARTBEAT))
    }

    /// The last beat.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn last(&self) -> Result<BootTime, Error> {
        self.0.get(&0, 0).map(BootTime::from_nanos).map_err(Error::map(names::HEARTBEAT))
    }
}
