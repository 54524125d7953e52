//! A body that is sent piece by piece, and whose sender learns when nobody takes it any more.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// The receiving half: what the connection sends.
#[derive(Debug)]
pub(super) struct Pieces(mpsc::Receiver<Frame<Bytes>>);

impl Pieces {
    /// A body, and where its frames are put in; the next one goes in when the last was taken.
    pub(super) fn new() -> (mpsc::Sender<Frame<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(receiver))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
