//! The heartbeat: the kernel programs hand connections over only while every worker is seen to run.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Error;
use crate::capture::{self, BootTime, Heartbeat};
use crate::proxy::Pulse;

/// A worker that gave no sign of life for so long is named in the log. The programs give it twice as long.
const STUCK: Duration = Duration::from_secs(1);

/// A thread that tells the kernel programs when the slowest worker was last seen to run. It waits for nothing but the
/// clock and ends when this is dropped.
#[derive(Debug)]
pub struct Heart {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Starts beating: `beat` is given the oldest of the workers' last signs of life.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        pulses: Vec<Arc<Pulse>>,
        beat: impl FnMut(BootTime) -> Result<(), capture::Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let mut watch = Watch { slow: vec![false; pulses.len()], pulses, beat, failing: false };
        let name = "heartbeat".to_owned();
        let run = move || {
            let mut now = BootTime::now();
            watch.turn(now, Duration::ZERO);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Heartbeat::EVERY) {
                let before = std::mem::replace(&mut now, BootTime::now());
                watch.turn(now, now.since_boot().saturating_sub(before.since_boot()));
            }
        };
        let thread = std::thread::Builder::new().name(name.clone()).spawn(run);
        let thread = thread.map_err(|source| Error::Thread { name, source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

struct Watch<F> {
    pulses: Vec<Arc<Pulse>>,
    /// Which of them were reported as stuck.
    slow: Vec<bool>,
    beat: F,
    failing: bool,
}

impl<F: FnMut(BootTime) -> Result<(), capture::Error>> Watch<F> {
    /// `slept` is how long this thread was away: after a stop or a suspend, nobody else can have run either.
    fn turn(&mut self, now: BootTime, slept: Duration) {
        let oldest = self.pulses.iter().map(|pulse| pulse.last()).min().unwrap_or(now);
        // Before anything that could wait: the log may.
        let beaten = (self.beat)(oldest);
        if let Err(e) = &beaten
            && !self.failing
        {
            log::error!("the heartbeat does not reach the kernel programs, which will take the daemon for dead: {e}");
        }
        self.failing = beaten.is_err();
        for (pulse, reported) in self.pulses.iter().zip(&mut self.slow) {
            let age = pulse.age(now);
            if age > STUCK && slept < STUCK && !*reported {
                *reported = true;
                let name = pulse.name();
                let limit = Heartbeat::STALE_AFTER;
                log::error!("{name} gives no sign of life since {age:?}: connections are refused after {limit:?}");
            } else if age <= STUCK && *reported {
                *reported = false;
                log::info!("{} runs again", pulse.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_oldest_sign_of_life_is_what_the_kernel_hears() {
        let old = Arc::new(Pulse::new("worker-0".to_owned()));
        while BootTime::now() == old.last() {}
        let young = Arc::new(Pulse::new("worker-1".to_owned()));
        let (heard, hear) = channel();
        let heart = Heart::start(vec![young, Arc::clone(&old)], move |at| {
            heard.send(at).unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(hear.recv().unwrap(), old.last());
        assert_eq!(hear.recv().unwrap(), old.last(), "it beats on with what it has");
        drop(heart);
        assert!(hear.iter().all(|at| at == old.last()), "and ends when dropped");
    }

    #[test]
    fn a_stuck_worker_is_reported_once_and_a_pause_of_all_is_not_its_fault() {
        let pulse = Arc::new(Pulse::new("worker-7".to_owned()));
        let beats = Mutex::new(0);
        let beat = |_: BootTime| {
            *beats.lock().unwrap() += 1;
            Ok(())
        };
        let mut watch = Watch { pulses: vec![Arc::clone(&pulse)], slow: vec![false], beat, failing: false };
        let later = BootTime::from_nanos(pulse.last().as_nanos() + 5_000_000_000);
        watch.turn(later, Duration::from_secs(5));
        assert_eq!(watch.slow, [false]);
        watch.turn(later, Heartbeat::EVERY);
        assert_eq!(watch.slow, [true]);
        watch.turn(pulse.last(), Heartbeat::EVERY);
        assert_eq!(watch.slow, [false]);
        assert_eq!(*beats.lock().unwrap(), 3);
    }
}
