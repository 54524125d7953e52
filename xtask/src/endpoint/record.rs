//! Keeps what arrived: every request in a file of its own, byte for byte as it came out of TLS.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::split::Splitter;

/// Numbers the requests: `0001.http`, `0002.http`; one that broke off is `0003.partial.http`, a datagram
/// `0004.udp`.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    directory: PathBuf,
    last: Rc<Cell<u32>>,
}

impl Recorder {
    /// Goes on after the requests that are in `directory`.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.get(..4)?.parse().ok());
        Ok(Self { directory: directory.to_owned(), last: Rc::new(Cell::new(numbers.max().unwrap_or(0))) })
    }

    /// Keeps what arrived as a file of its own.
    pub(super) fn keep(&self, request: &[u8], suffix: &str) {
        let number = self.last.get() + 1;
        self.last.set(number);
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
    splitter: Splitter,
    recorder: Recorder,
}

impl<S> Tee<S> {
    pub(crate) fn new(inner: S, recorder: Recorder) -> Self {
        Self { inner, splitter: Splitter::default(), recorder }
    }
}

impl<S> Drop for Tee<S> {
    fn drop(&mut self) {
        if !self.splitter.unfinished().is_empty() {
            self.recorder.keep(self.splitter.unfinished(), ".partial.http");
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tee<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let recorder = &this.recorder;
        if let Err(error) = this.splitter.feed(&buf.filled()[before..], |request| recorder.keep(request, ".http")) {
            eprintln!("endpoint: the rest of a connection is kept as one partial request: {error:#}");
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
