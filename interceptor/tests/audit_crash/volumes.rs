//! Disks that are full, turn read-only, lose pages that were promised, lose power.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal;

use super::Writer;
use super::volume::Volume;

const PAGE: u64 = 4096;

fn acknowledged(writer: &Writer) -> String {
    let (begun, ended, refused) = (writer.count("begun"), writer.count("ended"), writer.count("refused"));
    assert!(ended > 0);
    format!("{begun} requests and {ended} ends acknowledged, none lost or altered; {refused} refused")
}

/// A disk that gets full under load, and is given space again.
pub(crate) fn full_disk(full: bool) -> String {
    let mut said = Vec::new();
    for round in 0_u64..if full { 20 } else { 2 } {
        let volume = if round % 2 == 0 { Volume::tmpfs(8 << 20) } else { Volume::ext4(24 << 20) };
        let mut writer = Writer::new(&volume.path);
        let running = writer.start();
        running.wait_for("ended", 5);
        let filler = volume.fill_but(round * 40_000);
        running.wait_for("refused", 30);
        let before = running.count("ended");
        fs::remove_file(filler).expect("space");
        running.wait_for("ended", before + 10);
        volume.fill();
        running.wait_for("refused", 60);
        running.signal(Signal::SIGKILL);
        writer.ended(running);
        fs::remove_file(volume.path.join("filler")).expect("space");
        writer.check(&format!("full disk, round {round}"));
        said.push(acknowledged(&writer));
    }
    format!("{} disks filled up twice; the last: {}", said.len(), said[said.len() - 1])
}

/// A file system that the kernel remounts read-only.
pub(crate) fn read_only(full: bool) -> String {
    let rounds = if full { 50 } else { 2 };
    let volume = Volume::ext4(512 << 20);
    let mut writer = Writer::new(&volume.path);
    for round in 0..rounds {
        let running = writer.start();
        std::thread::sleep(Duration::from_millis(20 + 13 * round % 200));
        volume.break_down();
        running.wait_for("refused", 20);
        running.signal(Signal::SIGKILL);
        writer.ended(running);
        volume.restart(true);
        writer.check(&format!("read-only, round {round}"));
    }
    format!("{rounds} times remounted read-only: {}", acknowledged(&writer))
}

/// Files that the writer maps: the segment in use and those prepared.
fn mapped(audit: &Path) -> (PathBuf, Vec<PathBuf>) {
    let mut segments = Vec::new();
    let mut spares = Vec::new();
    for entry in fs::read_dir(audit).expect("a log") {
        let path = entry.expect("an entry").path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("alog") => segments.push(path),
            Some("spare") => spares.push(path),
            _ => {}
        }
    }
    segments.sort();
    (segments.pop().expect("a segment"), spares)
}

/// The first page that nothing was written to.
fn unused_from(segment: &Path) -> u64 {
    let bytes = fs::read(segment).expect("readable");
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
    used.next_multiple_of(PAGE)
}

/// Pages that were allocated are taken away again, and the disk is full.
pub(crate) fn hole(full: bool) -> String {
    killed_by_page(if full { 50 } else { 2 }, "pages turned to holes on a full disk", |volume, audit| {
        let (segment, spares) = mapped(audit);
        let punch = |path: &Path, from: u64| {
            let file = File::options().write(true).open(path).expect("a file of the writer");
            let length = file.metadata().expect("its size").len();
            if from < length {
                let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                fallocate(&file, flags, from as i64, (length - from) as i64).expect("a hole");
            }
        };
        punch(&segment, unused_from(&segment));
        for spare in spares {
            punch(&spare, 0);
        }
        volume.fill();
    })
}

/// Files are cut under the mapping, behind what was written.
pub(crate) fn truncated(full: bool) -> String {
    killed_by_page(if full { 50 } else { 2 }, "files cut under the mapping", |_, audit| {
        let (segment, spares) = mapped(audit);
        let cut = |path: &Path, to: u64| {
            let file = File::options().write(true).open(path).expect("a file of the writer");
            let length = file.metadata().expect("its size").len();
            file.set_len(to.min(length)).expect("cut");
        };
        cut(&segment, unused_from(&segment));
        for spare in spares {
            cut(&spare, 0);
        }
    })
}

/// While the writer stands still, something is done so that it dies of its next page.
fn killed_by_page(rounds: u64, what: &str, harm: impl Fn(&Volume, &Path)) -> String {
    let mut volume = Volume::tmpfs(48 << 20);
    let mut writer = Writer::new(&volume.path);
    let mut died = 0;
    for round in 0..rounds {
        if round > 0 {
            // It is nearly full of what the writer before left.
            volume = Volume::tmpfs(48 << 20);
            writer = Writer::new(&volume.path);
        }
        let mut running = writer.start();
        std::thread::sleep(Duration::from_millis(3 + 11 * round % 150));
        running.signal(Signal::SIGSTOP);
        // The kernel stops a thread when it leaves the kernel, which may take a moment.
        std::thread::sleep(Duration::from_millis(20));
        harm(&volume, &writer.audit());
        running.signal(Signal::SIGCONT);
        // It may have met the harm where it says so: a segment that could not be allocated.
        while !running.has_ended() && running.count("refused") < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.signal(Signal::SIGKILL);
        died += u64::from(writer.ended(running) == Some(Signal::SIGBUS as i32));
        let _ = fs::remove_file(volume.path.join("filler"));
        writer.check(&format!("{what}, round {round}"));
    }
    assert!(died > rounds / 2, "only {died} of {rounds} writers died of SIGBUS ({what})");
    format!("{died} of {rounds} writers died of SIGBUS ({what}); the last: {}", acknowledged(&writer))
}

/// The power goes: what ext4 has not written yet is lost.
pub(crate) fn power(full: bool) -> String {
    let rounds = if full { 200 } else { 6 };
    let mut volume = Volume::ext4(256 << 20);
    let mut writer = Writer::new(&volume.path);
    let (mut begun, mut ended) = (0, 0);
    for round in 0..rounds {
        let running = writer.start();
        std::thread::sleep(Duration::from_millis(7 * round * round % 331));
        volume.power_off();
        running.signal(Signal::SIGKILL);
        writer.ended(running);
        volume.restart(false);
        writer.check(&format!("power, round {round}"));
        if round % 25 == 24 || round + 1 == rounds {
            begun += writer.count("begun");
            ended += writer.count("ended");
            volume = Volume::ext4(256 << 20);
            writer = Writer::new(&volume.path);
        }
    }
    assert!(ended > 0);
    format!(
        "{rounds} times without power on ext4: {begun} requests and {ended} ends acknowledged, none lost or altered"
    )
}
