//! `kill -9`, again and again.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Writer;

/// Writers that are killed on one log before the next log is begun: each check reads all of it.
const LIVES: u64 = 40;

pub(crate) fn run(full: bool) -> String {
    let logs = if full { 50 } else { 1 };
    let (mut begun, mut ended) = (0, 0);
    for log in 0..logs {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = Writer::new(dir.path());
        for life in 0..LIVES {
            let running = writer.start();
            // From "hardly opened" to "several segments full", a different moment each time.
            std::thread::sleep(Duration::from_micros(life * life * 150 + log * 37));
            running.signal(Signal::SIGKILL);
            writer.ended(running);
            writer.check(&format!("log {log}, writer {life}"));
        }
        assert_eq!(writer.count("refused"), 0, "a sound disk takes everything");
        assert!(writer.count("ended") > 100, "only {} exchanges: the test tested nothing", writer.count("ended"));
        writer.unseal();
        begun += writer.count("begun");
        ended += writer.count("ended");
    }
    format!("{} writers killed, {begun} requests and {ended} ends acknowledged, none lost or altered", logs * LIVES)
}
