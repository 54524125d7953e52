//! Lines in a file that is rotated by size, and on standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::event::{Event, lines};
use super::receiver::Refused;
use super::settings;

/// The daemon's standard output.
#[derive(Debug, Default)]
pub(super) struct Stdout {
    /// A line may not have an end.
    cut: bool,
}

impl Stdout {
    pub(super) fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let mut out = io::stdout().lock();
        let end: &[u8] = if self.cut { b"\n" } else { b"" };
        let written = out.write_all(end).and_then(|()| out.write_all(&lines(events))).and_then(|()| out.flush());
        self.cut = written.is_err();
        written.map_err(|e| Refused::later(format_args!("standard output: {e}")))
    }
}

/// A file.
#[derive(Debug)]
pub(super) struct FileReceiver {
    settings: settings::File,
    open: Option<Opened>,
}

/// A file in which everything is whole lines.
#[derive(Debug)]
struct Opened {
    file: File,
    length: u64,
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
        let path = &self.settings.path;
        // Others may have moved the file away, or cut it.
        let mut opened = match self.open.take().filter(|opened| opened.is_in_place(path)) {
            Some(opened) => opened,
            None => Opened::at(path)?,
        };
        if opened.length > 0 && opened.length + bytes.len() as u64 > self.settings.max_bytes {
            rotate(path, self.settings.keep)?;
            opened = Opened::at(path)?;
        }
        opened.append(bytes)?;
        self.open = Some(opened);
        Ok(())
    }
}

impl Opened {
    /// Opens the file for appending. A line that was cut off, by the death of this program or a full disk, is removed: it
    /// is sent again whole.
    fn at(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is no regular file: give the sink a file of its own"));
        }
        // Two that append to one file would each take the other's bytes for its own.
        file.try_lock().map_err(|_| io::Error::other("another process, or another sink, writes to it"))?;
        let end = file.seek(SeekFrom::End(0))?;
        let length = end_of_lines(&mut file, end)?;
        if length < end {
            if !is_beginning(first_bytes(&file, length)?) {
                return Err(io::Error::other("its last line is no event: give the sink a file of its own"));
            }
            file.set_len(length)?;
        }
        sync_directory(path)?;
        Ok(Self { file, length })
    }

    /// Whether the file at `path` is this one, as it was left.
    fn is_in_place(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(there)) = (self.file.metadata(), fs::symlink_metadata(path)) else { return false };
        (ours.dev(), ours.ino()) == (there.dev(), there.ino()) && there.len() == self.length
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What a full disk had room for comes again.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Up to four bytes at `at`.
fn first_bytes(file: &File, at: u64) -> io::Result<[u8; 4]> {
    let mut bytes = [0; 4];
    let _ = file.read_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Whether a line that begins so may be an event, in any of the formats, that was cut off.
fn is_beginning(bytes: [u8; 4]) -> bool {
    const CEF: [u8; 4] = *b"CEF:";
    bytes[0] == b'{' || bytes.iter().zip(CEF).all(|(&byte, expected)| byte == expected || byte == 0)
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
        for (before, after) in
            [("", "new\n"), ("{torn", "new\n"), ("one\n", "one\nnew\n"), ("one\n{torn", "one\nnew\n"), ("CE", "new\n")]
        {
            fs::write(&path, before).unwrap();
            receiver(&path, 1 << 20, 1).deliver(&[event("new")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        let long = format!("one\n{{{}", "x".repeat(200_000));
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
    fn a_file_that_others_rotate_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("events"), dir.path().join("moved"));
        let mut receiver = receiver(&path, 1 << 20, 1);
        receiver.deliver(&[event("a")]).unwrap();
        fs::rename(&path, &moved).unwrap();
        receiver.deliver(&[event("b")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
        // As logrotate does with `create`: another file is there at once.
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "").unwrap();
        receiver.deliver(&[event("c")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
        // And with `copytruncate`.
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        receiver.deliver(&[event("d")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "d\n");
    }

    #[test]
    fn what_is_no_file_of_the_sink_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        let why = |receiver: &mut FileReceiver| match receiver.deliver(&[event("new")]) {
            Err(Refused::Later { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        fs::write(&path, "somebody's\nnotes").unwrap();
        assert!(why(&mut receiver(&path, 1 << 20, 1)).ends_with("give the sink a file of its own"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's\nnotes");
        fs::write(&path, "").unwrap();
        let mut first = receiver(&path, 1 << 20, 1);
        first.deliver(&[event("a")]).unwrap();
        assert!(why(&mut receiver(&path, 1 << 20, 1)).contains("another sink"));
        let directory = dir.path().join("directory");
        fs::create_dir(&directory).unwrap();
        why(&mut receiver(&directory, 1 << 20, 1));
    }
}
