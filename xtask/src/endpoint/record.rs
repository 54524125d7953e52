//! Keeps what arrived: every request in a file of its own, byte for byte as it came out of TLS.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::split::Splitter;

/// Numbers the requests: `0001.http`, `0002.http`; one that broke off is `0003.partial.http`, a datagram
/// `0004.udp`, all that came on one connection with HTTP/2 that is forwarded `0005.h2`.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    directory: PathBuf,
    last: Arc<AtomicU32>,
}

impl Recorder {
    /// Goes on after the requests that are in `directory`.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.get(..4)?.parse().ok());
        Ok(Self { directory: directory.to_owned(), last: Arc::new(AtomicU32::new(numbers.max().unwrap_or(0))) })
    }

    /// Keeps what arrived as a file of its own.
    pub(super) fn keep(&self, request: &[u8], suffix: &str) {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.directory.join(format!("{number:04}{suffix}"));
        // Under another name until it is whole, so that nobody reads half a request.
        let unfinished = self.directory.join(format!(".{number:04}"));
        if let Err(error) = fs::write(&unfinished, request).and_then(|()| fs::rename(&unfinished, &path)) {
            eprintln!("endpoint: cannot keep {}: {error}", path.display());
        }
    }
}

/// A stream that records what is read from it.
#[derive(Debug)]
pub(crate) struct Tee<S> {
    inner: S,
    kept: Kept,
    recorder: Recorder,
}

#[derive(Debug)]
enum Kept {
    /// Each request by itself, as soon as it is whole.
    Requests(Splitter),
    /// Everything, at the end of the connection.
    Connection(Vec<u8>),
}

impl<S> Tee<S> {
    /// Of a stream with HTTP/1.1.
    pub(crate) fn new(inner: S, recorder: Recorder) -> Self {
        Self { inner, kept: Kept::Requests(Splitter::default()), recorder }
    }

    /// Of a stream whose requests only its reader can tell apart.
    pub(crate) fn whole(inner: S, recorder: Recorder) -> Self {
        Self { inner, kept: Kept::Connection(Vec::new()), recorder }
    }
}

impl<S> Drop for Tee<S> {
    fn drop(&mut self) {
        let (left, suffix) = match &self.kept {
            Kept::Requests(splitter) => (splitter.unfinished(), ".partial.http"),
            Kept::Connection(bytes) => (bytes.as_slice(), ".h2"),
        };
        if !left.is_empty() {
            self.recorder.keep(left, suffix);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tee<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let (read, recorder) = (&buf.filled()[before..], &this.recorder);
        match &mut this.kept {
            Kept::Connection(bytes) => bytes.extend_from_slice(read),
            Kept::Requests(splitter) => {
                if let Err(error) = splitter.feed(read, |request| recorder.keep(request, ".http")) {
                    eprintln!("endpoint: the rest of a connection is kept as one partial request: {error:#}");
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tee<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
