//! Lines in a file that is rotated by size, and on standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use super::event::{Event, lines};
use super::receiver::{Refused, SetupError, wrong};
use super::settings;
use crate::siem;
use crate::sys::sync_parent;

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

    /// Whether it could append now, without doing so. One that a running sink writes to is in order.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        let path = &self.settings.path;
        let checked = match open(path, &mut OpenOptions::new()) {
            Ok(mut file) => look(&mut file, path).map(|_| ()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::metadata(directory(path)) {
                Ok(there) if there.is_dir() => Ok(()),
                _ => Err(io::Error::other("there is no such directory: make it first")),
            },
            Err(error) => Err(error),
        };
        checked.map_err(|error| wrong(path, &error.to_string()))
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
        let mut file = open(path, OpenOptions::new().create(true).mode(0o640))?;
        // Two that append to one file would each take the other's bytes for its own.
        file.try_lock().map_err(|_| io::Error::other("another process, or another sink, writes to it"))?;
        let (length, end) = look(&mut file, path)?;
        if length < end {
            file.set_len(length)?;
        }
        sync_parent(path)?;
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

/// Opens what must be a regular file for appending, without waiting for who reads a pipe.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.read(true).append(true).custom_flags(flags).open(path);
    // The system's words for a link, and for a pipe that nobody reads, do not say what to do.
    let special = || io::Error::other("is no regular file: give the sink a file of its own");
    let file =
        file.map_err(|e| if matches!(e.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) { special() } else { e })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(special()) }
}

/// Where the whole lines of a file of the sink end, and where the file does. What is somebody else's is refused, and what
/// others may read: prompts are appended.
fn look(file: &mut File, path: &Path) -> io::Result<(u64, u64)> {
    let end = file.seek(SeekFrom::End(0))?;
    let length = end_of_lines(file, end)?;
    let is_ours = if length < end { is_beginning(first_bytes(file, length)?) } else { ends_with_event(file, end)? };
    if !is_ours {
        return Err(io::Error::other("its last line is no event: give the sink a file of its own"));
    }
    let mode = file.metadata()?.mode();
    if mode & 0o007 != 0 {
        let path = path.display();
        let why = format!("others than its owner and group may use it (mode {:04o}): `chmod o= {path}`", mode & 0o7777);
        return Err(io::Error::other(why));
    }
    Ok((length, end))
}

/// Whether the line that ends at `end` is an event. An empty file has none that is not.
fn ends_with_event(file: &mut File, end: u64) -> io::Result<bool> {
    /// Longer ones are judged by their beginning.
    const LONGEST: u64 = 64 << 20;
    let Some(last) = end.checked_sub(1) else { return Ok(true) };
    let start = end_of_lines(file, last)?;
    if last - start > LONGEST {
        return first_bytes(file, start).map(is_beginning);
    }
    let mut line = vec![0; (last - start) as usize];
    file.read_exact_at(&mut line, start)?;
    Ok(siem::is_line(&line))
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
        return sync_parent(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))?;
    sync_parent(path)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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

    /// A line of the sink.
    const ONE: &str = r#"{"checkpoint":{}}"#;

    /// A file as the sink makes it.
    fn put(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn receiver(path: &Path, max_bytes: u64, keep: u32) -> FileReceiver {
        FileReceiver::new(&settings::File { path: path.to_owned(), max_bytes, keep })
    }

    #[test]
    fn a_line_that_was_cut_off_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (one, both) = (format!("{ONE}\n"), format!("{ONE}\nnew\n"));
        let torn = format!("{ONE}\n{{torn");
        for (before, after) in [("", "new\n"), ("{torn", "new\n"), (&one, &*both), (&torn, &both), ("CE", "new\n")] {
            put(&path, before);
            receiver(&path, 1 << 20, 1).deliver(&[event("new")]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        put(&path, &format!("{ONE}\n{{{}", "x".repeat(200_000)));
        receiver(&path, 1 << 20, 1).deliver(&[event("new")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), both);
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
        put(&path, "");
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
        for text in
            ["somebody's\nnotes", "somebody's\nnotes\n", "\n", "{\"level\":\"info\"}\n", "CEF:0|Other|Other|1|a|b|2|\n"]
        {
            put(&path, text);
            assert!(why(&mut receiver(&path, 1 << 20, 1)).ends_with("give the sink a file of its own"), "{text:?}");
            assert!(receiver(&path, 1 << 20, 1).check().is_err(), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        put(&path, "");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(why(&mut receiver(&path, 1 << 20, 1)).contains("`chmod o= "));
        put(&path, "");
        let mut first = receiver(&path, 1 << 20, 1);
        first.deliver(&[event("a")]).unwrap();
        assert!(why(&mut receiver(&path, 1 << 20, 1)).contains("another sink"));
        let directory = dir.path().join("directory");
        fs::create_dir(&directory).unwrap();
        why(&mut receiver(&directory, 1 << 20, 1));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(why(&mut receiver(&pipe, 1 << 20, 1)).contains("is no regular file"));
    }

    #[test]
    fn a_check_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let check = |path: &Path| receiver(path, 1 << 20, 1).check().map_err(|e| e.to_string());
        check(&path).unwrap();
        assert!(!path.exists());
        put(&path, "{torn");
        let running = open(&path, &mut OpenOptions::new()).unwrap();
        running.try_lock().unwrap();
        check(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{torn");
        assert!(check(&dir.path().join("none/events")).unwrap_err().contains("make it first"));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(check(&pipe).unwrap_err().contains("is no regular file"));
    }
}
