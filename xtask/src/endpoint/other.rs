//! What arrives without TLS: it is kept and answered too, so that a test sees whatever gets past the daemon.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::net::{TcpStream, UdpSocket};

use super::note;
use super::record::Recorder;

/// The first byte of a TLS record that begins a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// Whether the client speaks TLS; it may take its time to say.
pub(super) async fn begins_tls(stream: &TcpStream) -> Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await.context("reading the first byte")?;
    Ok(read == 0 || first[0] == HANDSHAKE)
}

/// Keeps every datagram; nothing is answered.
pub(super) async fn datagrams(socket: UdpSocket, recorder: Recorder) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        match socket.recv_from(&mut bytes).await {
            Ok((length, peer)) => {
                note(peer, &format!("a datagram of {length} bytes"));
                recorder.keep(&bytes[..length], ".udp");
            }
            Err(error) => eprintln!("endpoint: datagrams: {error}"),
        }
    }
}

/// A socket that receives them.
pub(super) async fn bind(at: SocketAddr) -> Result<UdpSocket> {
    UdpSocket::bind(at).await.with_context(|| format!("cannot receive datagrams at {at}"))
}
