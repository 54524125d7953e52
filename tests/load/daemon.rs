//! What the daemon holds: memory and descriptors, as the kernel tells it.

use std::env;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The process that serves.
pub(crate) struct Daemon {
    pid: u32,
}

/// What it holds at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Everything resident, the log's mapping and programs included.
    pub(crate) resident_kib: u64,
    /// Of that, what it allocated.
    pub(crate) anonymous_kib: u64,
    pub(crate) descriptors: usize,
}

impl Daemon {
    pub(crate) fn find() -> Result<Self> {
        let state = env::var("INTERCEPTOR_STATE").context("INTERCEPTOR_STATE is not set: run this in the lab")?;
        let pid = fs::read_to_string(format!("{state}/run/daemon.pid")).context("the daemon's pid file")?;
        Ok(Self { pid: pid.trim().parse()? })
    }

    pub(crate) fn held(&self) -> Result<Held> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the daemon's status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name}{line}"))
        };
        Ok(Held {
            resident_kib: kib("VmRSS:")?,
            anonymous_kib: kib("RssAnon:")?,
            descriptors: fs::read_dir(format!("/proc/{}/fd", self.pid))?.count(),
        })
    }

    /// Threads that serve connections.
    pub(crate) fn workers(&self) -> Result<usize> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid))?;
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        Ok(names.filter(|name| name.starts_with("worker-")).count())
    }

    /// CPU time that all its threads used, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // Threads end. Nanoseconds on a processor come first (Documentation/scheduler/sched-stats.rst).
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let spent: u64 = text.split(' ').next().unwrap_or_default().parse().context("schedstat")?;
            total += spent / 1000;
        }
        Ok(total)
    }
}

impl Held {
    pub(crate) fn json(self) -> Value {
        json!({
            "resident_kib": self.resident_kib,
            "anonymous_kib": self.anonymous_kib,
            "descriptors": self.descriptors,
        })
    }
}
