//! Lines in a file that is rotated by size, and on standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

use super::event::{Event, lines};
use super::receiver::Refused;
use super::settings;

/// The daemon's standard output.
#[derive(Debug)]
pub(super) struct Stdout;

impl Stdout {
    pub(super) fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let mut out = io::stdout().lock();
        let written = out.write_all(&lines(events)).and_then(|()| out.flush());
        written.map_err(|e| Refused::later(format_args!("standard output: {e}")))
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct FileReceiver {
    settings: settings::File,
    /// Open, with its length: everything in it is whole lines.
    open: Option<(File, u64)>,
}

impl FileReceiver {
    pub(super) fn new(settings: &settings::File) -> Self {
        Self { settings: settings.clone(), open: None }
    }

    pub(super) fn describe(&self) -> String {
        self.settings.path.display().to_string()
    }

    /// The lines are on the disk when this returns.
    pub(super) fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let result = self.append(&lines(events));
        // What is in the file after an error is looked at anew.
        result.inspect_err(|_| self.open = None).map_err(|e| Refused::later(format_args!("{}: {e}", self.describe())))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_gone = !self.settings.path.exists();
        if self.open.is_none() || is_gone {
            self.open = Some(open(&self.settings.path)?);
        }
        let fits = |length: u64| length == 0 || length + bytes.len() as u64 <= self.settings.max_bytes;
        if let Some((_, length)) = &self.open
            && !fits(*length)
        {
            self.open = None;
            rotate(&self.settings.path, self.settings.keep)?;
            self.open = Some(open(&self.settings.path)?);
        }
        let Some((file, length)) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all(bytes)?;
        file.sync_data()?;
        *length += bytes.len() as u64;
        Ok(())
    }
}

/// Opens the file for appending. A line that was cut off, by the death of this program or a full disk, is removed: it is
/// sent again whole.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    let whole = end_of_lines(&mut file, end)?;
    if whole < end {
        file.set_len(whole)?;
    }
    file.seek(SeekFrom::Start(whole))?;
    sync_directory(path)?;
    Ok((file, whole))
}

/// After the last end of a line before `end`.
fn end_of_lines(file: &mut File, end: u64) -> io::Result<u64> {
    const WINDOW: u64 = 64 << 10;
    let mut at = end;
    let mut window = Vec::new();
    while at > 0 {
        let start = at.saturating_sub(WINDOW);
        file.seek(SeekFrom::Start(start))?;
        window.clear();
        (&*file).take(at - start).read_to_end(&mut window)?;
        if let Some(index) = memchr::memrchr(b'\n', &window) {
            return Ok(start + index as u64 + 1);
        }
        at = start;
    }
    Ok(0)
}

/// `path` becomes `path.1`, that `path.2`; what would be more than `keep` is removed.
fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| -> PathBuf { path.with_added_extension(number.to_string()) };
    if keep == 0 {
        fs::remove_file(path)?;
        return sync_directory(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::event::of;
    use super::*;
    use crate::audit::Record;
    use crate::flow::ExchangeId;
    use crate::siem::Format;

    fn event(text: &str) -> Event {
        let mut event = of(Format::Jsonl, Record::new(ExchangeId::new()));
        event.text = text.to_owned();
        event
    }

    fn receiver(path: &Path, max_bytes: u64, keep: u32) -> FileReceiver {
        FileReceiver::new(&settings::File { path: path.to_owned(), max_bytes, keep })
    }

    #[test]
    fn a_line_that_was_cut_off_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        for (before, after) in [("", "new\n"), ("torn", "new\n"), ("one\n", "one\nnew\n"), ("one\ntorn", "one\nnew\n")]
        {
            fs::write(&path, before).unwrap();
            receiver(&path, 1 << 20, 1).deliver(&[event("new")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        let long = format!("one\n{}", "x".repeat(200_000));
        fs::write(&path, long).unwrap();
        receiver(&path, 1 << 20, 1).deliver(&[event("new")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nnew\n");
    }

    #[test]
    fn files_are_rotated_and_the_oldest_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut receiver = receiver(&path, 8, 2);
        for text in ["aaa", "bbb", "ccc", "ddd", "eee", "ffff-is-longer-than-a-file", "g"] {
            receiver.deliver(&[event(text)]).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("events.jsonl"), "g\n");
        assert_eq!(read("events.jsonl.1"), "ffff-is-longer-than-a-file\n");
        assert_eq!(read("events.jsonl.2"), "eee\n");
        assert!(!dir.path().join("events.jsonl.3").exists());
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut receiver = receiver(&path, 1 << 20, 1);
        receiver.deliver(&[event("a")]).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        receiver.deliver(&[event("b")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
    }
}
