//! The programs' counters.

use aya::maps::{MapData, PerCpuArray};
use interceptor_ebpf::{Counter, names};

use super::Error;

/// What the programs counted since the maps were made, over all CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats([u64; Counter::COUNT]);

impl Stats {
    pub(super) fn read(counters: &PerCpuArray<MapData, u64>) -> Result<Self, Error> {
        let mut sums = [0; Counter::COUNT];
        for (sum, counter) in sums.iter_mut().zip(Counter::ALL) {
            let values = counters.get(&(counter as u32), 0).map_err(Error::map(names::COUNTERS))?;
            *sum = values.iter().sum();
        }
        Ok(Self(sums))
    }

    /// One counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Every counter and its value.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.into_iter().zip(self.0)
    }

    /// The counters that are not 0, by name.
    pub fn nonzero(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.iter().filter(|(_, count)| *count > 0).map(|(counter, count)| (format!("{counter:?}"), count))
    }

    /// Connections and datagrams refused, for whatever reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        [
            Counter::RefusedNoListener,
            Counter::RefusedNoStorage,
            Counter::RefusedNoSettings,
            Counter::RefusedDatagram,
            Counter::RefusedProtocol,
            Counter::RefusedListener,
            Counter::RefusedDevice,
            Counter::RefusedStale,
            Counter::RefusedQuota,
        ]
        .into_iter()
        .map(|counter| self.get(counter))
        .sum()
    }
}
