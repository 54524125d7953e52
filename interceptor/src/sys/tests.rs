//! The transport over real loopback sockets. Every claim is tried on the ring and on epoll.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};

use super::{Listener, Stream, Transport, connect, run_worker};

const PATIENCE: Duration = Duration::from_secs(10);

fn on_each_transport<F: Future<Output = ()>>(claim: impl Fn(Transport) -> F) {
    for transport in [Transport::IoUring, Transport::Epoll] {
        let claim =
            async { timeout(Duration::from_secs(60), claim(transport)).await.expect("the claim takes too long") };
        run_worker(transport, claim).unwrap();
    }
}

fn cases() -> Config {
    Config { cases: 24, failure_persistence: None, ..Config::default() }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn pair(transport: Transport) -> (Stream, Stream) {
    let listener = Listener::bind(loopback(), 16, transport).unwrap();
    let client = connect(listener.local_addr().unwrap(), 0, PATIENCE, transport).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!((peer.0, server.peer_addr()), (client.local_addr(), client.local_addr()));
    assert_eq!(server.local_addr(), client.peer_addr());
    (client, server)
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ seed ^ (i >> 11) as u8).collect()
}

/// Writes `data` in pieces of the given sizes, over and over, and half-closes.
async fn send<W: tokio::io::AsyncWrite + Unpin>(mut to: W, data: Vec<u8>, pieces: Vec<usize>) {
    let mut rest = &data[..];
    for size in pieces.iter().cycle() {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        to.write_all(piece).await.unwrap();
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    to.shutdown().await.unwrap();
}

async fn receive<R: tokio::io::AsyncRead + Unpin>(mut from: R, pieces: Vec<usize>) -> Vec<u8> {
    let mut data = Vec::new();
    for size in pieces.iter().cycle() {
        let mut piece = vec![0; *size];
        let len = from.read(&mut piece).await.unwrap();
        data.extend_from_slice(&piece[..len]);
        if len == 0 {
            break;
        }
    }
    data
}

fn sizes(max: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..64usize, 1000..1050usize, 1..max], 1..12)
}

#[test]
fn carries_bytes_both_ways_at_once_in_pieces_of_any_size() {
    let strategy = (1..300_000usize, 1..300_000usize, sizes(100_000), sizes(100_000));
    TestRunner::new(cases())
        .run(&strategy, |(there, back, write_sizes, read_sizes)| {
            on_each_transport(|transport| {
                let (write_sizes, read_sizes) = (write_sizes.clone(), read_sizes.clone());
                async move {
                    let (client, server) = pair(transport).await;
                    let ((client_reads, client_writes), (server_reads, server_writes)) = (split(client), split(server));
                    let (up, down) = (pattern(there, 1), pattern(back, 2));
                    let sent_up = tokio::task::spawn_local(send(client_writes, up.clone(), write_sizes.clone()));
                    let sent_down = tokio::task::spawn_local(send(server_writes, down.clone(), write_sizes));
                    let got_down = tokio::task::spawn_local(receive(client_reads, read_sizes.clone()));
                    let got_up = receive(server_reads, read_sizes).await;
                    assert!(got_up == up && got_down.await.unwrap() == down);
                    sent_up.await.unwrap();
                    sent_down.await.unwrap();
                }
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_read_that_is_given_up_on_loses_nothing() {
    let strategy = (sizes(5000), prop::collection::vec(0..400u64, 4..20));
    TestRunner::new(cases())
        .run(&strategy, |(pieces, waits)| {
            on_each_transport(|transport| {
                let (pieces, waits) = (pieces.clone(), waits.clone());
                async move {
                    let (mut client, mut server) = pair(transport).await;
                    let sent = pattern(pieces.iter().sum(), 3);
                    let data = sent.clone();
                    let sender = tokio::task::spawn_local(async move {
                        let mut rest = &data[..];
                        for size in pieces {
                            let (piece, after) = rest.split_at(size);
                            client.write_all(piece).await.unwrap();
                            client.flush().await.unwrap();
                            rest = after;
                            sleep(Duration::from_micros(150)).await;
                        }
                        client.shutdown().await.unwrap();
                    });
                    let (mut got, mut given_up, mut buffer) = (Vec::new(), 0, [0; 700]);
                    for wait in waits.iter().cycle() {
                        match timeout(Duration::from_micros(*wait), server.read(&mut buffer)).await {
                            Ok(Ok(0)) => break,
                            Ok(len) => got.extend_from_slice(&buffer[..len.unwrap()]),
                            Err(_) => given_up += 1,
                        }
                    }
                    sender.await.unwrap();
                    assert!(got == sent, "{} of {} bytes after {given_up} timeouts", got.len(), sent.len());
                }
            });
            Ok(())
        })
        .unwrap();
}

/// A connected pair whose kernel buffers are small.
async fn narrow_pair(transport: Transport) -> (Stream, Stream) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(8 * 1024).unwrap();
    listener.bind(&loopback().into()).unwrap();
    listener.listen(1).unwrap();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_send_buffer_size(8 * 1024).unwrap();
    client.connect(&listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (Stream::from_std(client.into(), transport).unwrap(), Stream::from_std(server.into(), transport).unwrap())
}

#[test]
fn a_peer_that_does_not_read_bounds_what_is_accepted() {
    on_each_transport(|transport| async move {
        let (mut client, mut server) = narrow_pair(transport).await;
        let data = pattern(4 << 20, 5);
        let mut accepted = 0;
        while let Ok(written) = timeout(Duration::from_millis(100), client.write(&data[accepted..])).await {
            accepted += written.unwrap();
            assert!(accepted < 512 * 1024, "{transport}: accepted {accepted} bytes that nobody reads");
        }
        let sender = tokio::task::spawn_local(async move {
            client.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert!(got == data[..accepted], "{transport}: what was accepted arrives, {} of {accepted}", got.len());
        sender.await.unwrap();
    });
}

#[test]
fn one_direction_can_end_before_the_other() {
    on_each_transport(|transport| async move {
        let (mut client, mut server) = pair(transport).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!((&question[..], &answer[..]), (&b"question"[..], &b"answer"[..]));
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "the end stays the end");
    });
}

/// What /proc calls the socket of this stream: `socket:[inode]`.
fn link_of(stream: &Stream) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", stream.as_fd().as_raw_fd())).unwrap()
}

/// Open descriptors of this process that are the socket `link` names.
fn holders(link: &std::path::Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors.filter(|entry| std::fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|l| l == link)).count()
}

#[test]
fn dropping_a_stream_with_a_read_outstanding_leaves_no_descriptor() {
    on_each_transport(|transport| async move {
        let (mut client, mut server) = pair(transport).await;
        let link = link_of(&client);
        assert_eq!(holders(&link), 1);
        let read = timeout(Duration::from_millis(20), client.read(&mut [0; 64])).await;
        assert!(read.is_err(), "nothing was sent");
        drop(client);
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 0, "{transport}: the peer sees the end");
        assert!(closed(&link).await, "{transport}: the descriptor of the dropped stream is still open");
    });
}

/// Waits until the last descriptor of a socket is closed.
async fn closed(link: &std::path::Path) -> bool {
    for _ in 0..1000 {
        if holders(link) == 0 {
            return true;
        }
        sleep(Duration::from_millis(5)).await;
    }
    false
}

#[test]
fn what_was_accepted_before_the_drop_arrives() {
    on_each_transport(|transport| async move {
        let (mut client, mut server) = pair(transport).await;
        assert!(timeout(Duration::from_millis(5), client.read(&mut [0; 64])).await.is_err(), "a read is outstanding");
        let link = link_of(&client);
        assert_eq!(client.write(b"last words").await.unwrap(), 10);
        drop(client);
        let mut words = Vec::new();
        server.read_to_end(&mut words).await.unwrap();
        assert_eq!(words, b"last words", "{transport}");
        assert!(closed(&link).await);
    });
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_a_dropped_stream_open() {
    on_each_transport(|transport| async move {
        let (mut client, _server) = narrow_pair(transport).await;
        let data = pattern(1 << 20, 7);
        while timeout(Duration::from_millis(100), client.write(&data)).await.is_ok() {}
        let link = link_of(&client);
        drop(client);
        assert!(closed(&link).await, "{transport}: the descriptor of the dropped stream is still open");
    });
}

#[test]
fn a_worker_ends_while_streams_and_listeners_wait() {
    on_each_transport(|transport| async move {
        std::thread::spawn(move || {
            run_worker(transport, async {
                let listener = Listener::bind(loopback(), 16, transport).unwrap();
                let (mut client, server) = pair(transport).await;
                tokio::task::spawn_local(async move { listener.accept().await.map(drop) });
                tokio::task::spawn_local(async move { client.read(&mut [0; 64]).await.map(|_| server) });
                sleep(Duration::from_millis(20)).await;
            })
        })
        .join()
        .unwrap()
        .unwrap();
    });
}

#[test]
fn a_closer_ends_a_waiting_read_and_survives_its_stream() {
    on_each_transport(|transport| async move {
        let (mut client, _server) = pair(transport).await;
        let closer = client.closer();
        let timer = closer.clone();
        tokio::task::spawn_local(async move {
            sleep(Duration::from_millis(20)).await;
            timer.close();
        });
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        let failed = async {
            client.write_all(b"too late").await?;
            client.flush().await
        };
        assert!(failed.await.is_err(), "{transport}: writes fail");
        drop(client);
        closer.close();
    });
}

#[test]
fn the_failure_of_a_write_shows_at_a_later_call_and_stays() {
    on_each_transport(|transport| async move {
        let (mut client, server) = pair(transport).await;
        // Closed with unread bytes in it, a socket resets its peer.
        client.write_all(b"unread").await.unwrap();
        client.flush().await.unwrap();
        sleep(Duration::from_millis(5)).await;
        drop(server);
        let mut failure = None;
        for _ in 0..100 {
            match async { client.write_all(b"x").await.and(client.flush().await) }.await {
                Ok(()) => sleep(Duration::from_millis(2)).await,
                Err(error) => {
                    failure = Some(error.kind());
                    break;
                }
            }
        }
        assert!(matches!(failure, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)), "{failure:?}");
        assert!(client.write(b"y").await.is_err(), "{transport}: and again");
    });
}

#[test]
fn an_accept_that_is_given_up_on_loses_no_connection() {
    on_each_transport(|transport| async move {
        let listener = Listener::bind(loopback(), 16, transport).unwrap();
        for _ in 0..5 {
            assert!(timeout(Duration::from_millis(2), listener.accept()).await.is_err());
        }
        let client = connect(listener.local_addr().unwrap(), 0, PATIENCE, transport).await.unwrap();
        let (server, peer) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        assert_eq!((peer.0, server.peer_addr()), (client.local_addr(), client.local_addr()));
    });
}

#[test]
fn both_loopbacks_and_several_workers_share_a_port() {
    on_each_transport(|transport| async move {
        let first = Listener::bind(loopback(), 16, transport).unwrap();
        let port = first.local_addr().unwrap().port();
        let _second = Listener::bind((Ipv4Addr::LOCALHOST, port).into(), 16, transport).unwrap();
        let sixth = Listener::bind((Ipv6Addr::LOCALHOST, port).into(), 16, transport).unwrap();
        let client = connect((Ipv6Addr::LOCALHOST, port).into(), 0, PATIENCE, transport).await.unwrap();
        let (_, peer) = sixth.accept().await.unwrap();
        assert_eq!(peer.0, client.local_addr());
    });
}

#[test]
fn a_connect_says_whether_it_was_refused_or_timed_out() {
    on_each_transport(|transport| async move {
        let closed = std::net::TcpListener::bind(loopback()).unwrap();
        let addr = closed.local_addr().unwrap();
        drop(closed);
        let error = connect(addr, 0, PATIENCE, transport).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

        // A full backlog drops SYNs.
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&loopback().into()).unwrap();
        full.listen(0).unwrap();
        let addr = full.local_addr().unwrap().as_socket().unwrap();
        let _queued = std::net::TcpStream::connect(addr).unwrap();
        let error = connect(addr, 0, Duration::from_millis(50), transport).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn the_mark_is_on_the_socket_or_the_connect_fails() {
    on_each_transport(|transport| async move {
        let listener = Listener::bind(loopback(), 16, transport).unwrap();
        let client = connect(listener.local_addr().unwrap(), 0x1ce, PATIENCE, transport).await;
        match client {
            Ok(client) => {
                assert_eq!(getsockopt(&client, sockopt::Mark).unwrap(), 0x1ce);
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                assert!(!nix::unistd::geteuid().is_root());
            }
        }
    });
}
