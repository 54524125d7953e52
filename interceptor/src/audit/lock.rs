//! One writer a stream: an open-file-description lock, which the kernel drops when the writer dies.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::Error;
use super::auditor::{open_lock, open_regular, readable};
use super::header::Stream;

/// How often a lock that another writer has is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Held by the writer for its life.
#[derive(Debug)]
pub(crate) struct WriterLock {
    file: File,
}

impl WriterLock {
    /// Takes the lock of `stream` in `dir`; that of accesses is waited for.
    pub(crate) fn take(dir: &Path, stream: Stream) -> Result<Self, Error> {
        let path = dir.join(stream.lock());
        let file = open_lock(&path, 0o640).map_err(|e| Error::io("open", &path, e))?;
        readable(&file, &path)?;
        let deadline = Instant::now() + patience(stream);
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => return sign(file, &path),
                Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < deadline => std::thread::sleep(ASK_AGAIN),
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(held(dir, stream, &file)),
                Err(e) => return Err(Error::io("lock", &path, e)),
            }
        }
    }

    /// Takes over a lock: the open file of a writer that hands over. The lock is in force from the one to the other.
    pub(crate) fn inherit(dir: &Path, stream: Stream, held: OwnedFd) -> Result<Self, Error> {
        let path = dir.join(stream.lock());
        let file = File::from(held);
        let failed = |e| Error::io("stat", &path, e);
        let (here, there) = (file.metadata().map_err(failed)?, std::fs::metadata(&path).map_err(failed)?);
        if (here.dev(), here.ino()) != (there.dev(), there.ino()) {
            let reason = "the lock that was handed over is of another log".to_owned();
            return Err(Error::Inconsistent { path, reason });
        }
        // Ours already if it is what it should be; else as if it had not been handed over.
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => sign(file, &path),
            Err(e) => Err(Error::io("lock", &path, e)),
        }
    }

    /// The open file, for a successor.
    pub(crate) fn share(&self) -> std::io::Result<OwnedFd> {
        self.file.try_clone().map(OwnedFd::from)
    }

    /// Whether some process writes `stream` in `dir`. Takes no lock, so it never stands in a writer's way.
    pub(crate) fn is_held(dir: &Path, stream: Stream) -> bool {
        let Ok(file) = open_regular(&dir.join(stream.lock())) else { return false };
        let mut probe = whole_file();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut probe)).is_ok() && i32::from(probe.l_type) != libc::F_UNLCK
    }
}

/// How long is waited for another writer: one of accesses is done in a moment.
fn patience(stream: Stream) -> Duration {
    match stream {
        Stream::Log => Duration::ZERO,
        Stream::Access => Duration::from_secs(5),
    }
}

fn held(dir: &Path, stream: Stream, mut file: &File) -> Error {
    let mut pid = String::new();
    let _ = file.rewind();
    let _ = file.take(20).read_to_string(&mut pid);
    let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().to_owned() };
    let dir = dir.to_path_buf();
    match stream {
        Stream::Log => Error::Locked { dir, pid },
        Stream::Access => Error::Recording { dir, pid },
    }
}

/// Says who holds it.
fn sign(mut file: File, path: &Path) -> Result<WriterLock, Error> {
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|e| Error::io("write", path, e))?;
    Ok(WriterLock { file })
}

fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_and_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!WriterLock::is_held(dir.path(), Stream::Log));
        let lock = WriterLock::take(dir.path(), Stream::Log).unwrap();
        assert!(WriterLock::is_held(dir.path(), Stream::Log));
        let error = WriterLock::take(dir.path(), Stream::Log).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        WriterLock::take(dir.path(), Stream::Access).unwrap();
        drop(lock);
        assert!(!WriterLock::is_held(dir.path(), Stream::Log));
        WriterLock::take(dir.path(), Stream::Log).unwrap();
    }

    #[test]
    fn a_pipe_in_its_place_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        for stream in [Stream::Log, Stream::Access] {
            let path = dir.path().join(stream.lock());
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert!(!WriterLock::is_held(dir.path(), stream));
            let error = WriterLock::take(dir.path(), stream).unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{error}");
        }
    }

    #[test]
    fn who_records_an_access_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let lock = WriterLock::take(dir.path(), Stream::Access).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| WriterLock::take(dir.path(), Stream::Access));
            std::thread::sleep(10 * ASK_AGAIN);
            drop(lock);
            second.join().unwrap().unwrap();
        });
    }
}
