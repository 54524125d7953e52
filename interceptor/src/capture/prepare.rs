//! Attaching in two steps: first what may fail and touches nothing that is in force, then the swap.

use std::fs::File;
use std::os::fd::OwnedFd;

use aya::Ebpf;

use super::features::Features;
use super::programs::{self, Pins};
use super::{Capture, Cgroups, Error, EventLog, Listening, Maps, NetnsCookie, Settings, SnapshotUnsupported, cgroup};

/// Programs that the kernel has verified, not yet in force.
pub struct Prepared {
    cgroup: File,
    netns: NetnsCookie,
    port: u16,
    ebpf: Ebpf,
    maps: Maps,
    kept: Vec<Listening>,
    features: Features,
    snapshot_support: Result<(), SnapshotUnsupported>,
    // Undone before the lock is given back.
    pins: Undo,
    lock: File,
}

/// The pins; removed again when nothing was in force before, and nothing is now.
struct Undo {
    pins: Option<Pins>,
    fresh: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(pins) = self.pins.take()
            && self.fresh
        {
            // The error at hand matters more than one of the clean-up.
            let _ = pins.remove();
        }
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Prepared {
    /// Loads the programs and has them verified. What an earlier process left in force stays as it is. `lock` is what
    /// [`Capture::share_lock`] gave, of the process that is to be replaced.
    ///
    /// # Errors
    /// As [`Capture::attach`].
    pub fn new(settings: &Settings, lock: Option<OwnedFd>) -> Result<Self, Error> {
        let own_cgroup = Cgroups::find()?.own()?;
        let cgroup = cgroup::open(&settings.cgroup)?;
        let netns = NetnsCookie::own()?;
        let features = Features::probe()?.without(&settings.overrides.absent);
        features.require()?;
        for feature in features.degraded() {
            log::warn!("this kernel lacks {feature}: {}", feature.without);
        }
        let pins = Pins::open(&settings.pin_dir)?;
        let lock = pins.lock(lock)?;
        let fresh = !pins.any_link();
        let pins = Undo { pins: Some(pins), fresh };
        // What this kernel does not take must not disturb what an earlier process left in force.
        let (mut ebpf, snapshot_support) = programs::verified(pins.get(), &features, &settings.overrides)?;
        if let Err(why) = &snapshot_support {
            log::warn!("callers that exit before they are accepted will be known by their ids alone: {why}");
        }
        let own = interceptor_ebpf::Settings {
            own_cgroup,
            stale_after: settings.stale_after.map_or(0, |age| age.as_nanos() as u64),
            own_mark: settings.mark,
            cgroup_rules: 0,
            max_waiting: settings.waiting_per_user,
            own_netns: netns.0,
        };
        let maps = Maps::take(&mut ebpf, own)?;
        let (port, kept) = (settings.listener_port, Vec::new());
        Ok(Self { cgroup, netns, port, ebpf, maps, kept, features, snapshot_support, pins, lock })
    }

    /// The network namespace that this process is in.
    #[must_use]
    pub fn netns(&self) -> NetnsCookie {
        self.netns
    }

    /// Keeps announcements of an earlier process whose sockets were handed to this one, so that connections that wait
    /// there are accepted. Returns those that still stand; the sockets of the others are of no use.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn keep(&mut self, inherited: &[Listening]) -> Result<&[Listening], Error> {
        for listening in inherited {
            if self.maps.stands(*listening, self.port)? && !self.kept.contains(listening) {
                self.kept.push(*listening);
            }
        }
        Ok(&self.kept)
    }

    /// Puts the programs in force, in place of an earlier process's without a moment in which none is. The listener
    /// of this network namespace is announced, unless it is among the kept ones.
    ///
    /// # Errors
    /// When the kernel refuses. On a first start nothing stays attached then.
    pub fn attach(mut self) -> Result<Capture, Error> {
        let (listening, log) = self.swap()?;
        let Self { maps, lock, mut pins, features, snapshot_support, .. } = self;
        let pins = pins.pins.take().expect("given away here alone");
        Ok(Capture { pins, maps, listening, log, features, snapshot_support, lock })
    }

    fn swap(&mut self) -> Result<(Listening, Option<EventLog>), Error> {
        self.maps.take_over(&self.kept)?;
        let listening = match self.kept.iter().find(|kept| kept.netns == self.netns) {
            Some(kept) => *kept,
            None => self.maps.announce(self.netns, self.port)?,
        };
        let log = EventLog::start(&mut self.ebpf)?;
        self.pins.get().attach(&mut self.ebpf, &self.cgroup)?;
        Ok((listening, log))
    }
}

impl Undo {
    fn get(&self) -> &Pins {
        self.pins.as_ref().expect("given away by `attach` alone")
    }
}
