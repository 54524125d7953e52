//! Sessions over pipes in memory. Both peers speak frames that the tests write themselves.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;

use super::*;
use crate::http::websocket::{Error, Event, Kind, Messages, close_frame};

const SECRET: &str = "4111 1111 1111 1111";

const KEY: [u8; 4] = [1, 2, 3, 4];

/// Masks the secret, refuses what says "forbidden", and waits where a message says "wait".
#[derive(Default)]
struct Rules {
    held: usize,
    most: usize,
    waiting: Rc<Notify>,
    decided: Rc<Notify>,
}

impl Gate for Rules {
    fn hold(&mut self, bytes: usize) -> Result<(), Refused> {
        self.held += bytes;
        if self.most > 0 && self.held > self.most {
            return Err(Refused { code: 1013, reason: "no room".into() });
        }
        Ok(())
    }

    async fn message(&mut self, message: &Message) -> Result<Bytes, Refused> {
        assert_eq!(std::mem::take(&mut self.held), message.raw.len() + message.content.len());
        let Ok(text) = std::str::from_utf8(&message.content) else { return Ok(message.content.clone()) };
        if text.contains("wait") {
            self.waiting.notify_one();
            self.decided.notified().await;
        }
        match text.contains("forbidden") {
            true => Err(Refused { code: 1008, reason: "rule policy.findings, audit id 7".into() }),
            false => Ok(text.replace(SECRET, "[CARD]").into()),
        }
    }

    async fn control(&mut self, control: &Control) -> Result<(), Refused> {
        match control.payload.starts_with(b"4111") {
            true => Err(Refused { code: 1008, reason: "a card in a ping".into() }),
            false => Ok(()),
        }
    }
}

/// What was recorded of the endpoint's messages, each behind a stroke.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<u8>>>);

impl Record for Log {
    async fn response(&mut self, piece: &Piece) -> Result<(), String> {
        let mut log = self.0.borrow_mut();
        log.extend_from_slice(&piece.content);
        if piece.last {
            log.push(b'|');
        }
        if log.ends_with(b"full|") { Err("the log is full".into()) } else { Ok(()) }
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }
}

fn settings() -> Settings {
    Settings {
        limits: Limits::default(),
        patience: Duration::from_secs(20),
        closing: Duration::from_secs(20),
        idle: None,
    }
}

/// A frame of the client.
fn said(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    out.extend(KEY);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ KEY[at % 4]));
    out
}

/// A frame of the endpoint.
fn answered(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, u8::try_from(payload.len()).unwrap()];
    out.extend(payload);
    out
}

/// Runs a session next to what both peers do.
fn session<F: Future<Output = ()>>(
    settings: Settings,
    rules: &mut Rules,
    log: &Log,
    leave: impl Future<Output = ()>,
    peers: impl FnOnce(DuplexStream, DuplexStream) -> F,
) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (client, near) = duplex(1 << 10);
        let (far, endpoint) = duplex(1 << 10);
        let (client_end, endpoint_end) =
            (End { stream: near, buffered: Bytes::new() }, End { stream: far, buffered: Bytes::new() });
        let negotiated = Negotiated::default();
        let mut log = log.clone();
        let run = run(client_end, endpoint_end, &negotiated, settings, rules, &mut log, leave);
        tokio::join!(run, peers(client, endpoint)).0
    })
}

fn quiet<F: Future<Output = ()>>(peers: impl FnOnce(DuplexStream, DuplexStream) -> F) -> (Ended, Log) {
    let log = Log::default();
    let ended = session(settings(), &mut Rules::default(), &log, std::future::pending(), peers);
    (ended, log)
}

async fn expect(stream: &mut DuplexStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}

/// The code and the reason of the close frame that comes next, which is the last.
async fn goodbye(mut stream: DuplexStream, masked: bool) -> (u16, String) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!((rest[0], rest[1] & 0x80 != 0), (0x88, masked), "{rest:x?}");
    let (key, start) = if masked { ([rest[2], rest[3], rest[4], rest[5]], 6) } else { ([0; 4], 2) };
    let payload: Vec<u8> = rest[start..].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
    (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
}

#[test]
fn frames_pass_as_they_came_and_a_message_with_a_secret_is_masked() {
    let (ended, log) = quiet(|mut client, mut endpoint| async move {
        let fragments = [said(0x01, b"hel"), said(0x80, b"lo")].concat();
        client.write_all(&fragments).await.unwrap();
        expect(&mut endpoint, &fragments).await;
        client.write_all(&said(0x81, format!("card {SECRET}.").as_bytes())).await.unwrap();
        let mut frame = [0; 18];
        endpoint.read_exact(&mut frame).await.unwrap();
        let decoded = Messages::new(None, Limits::default()).decode(&frame).unwrap();
        let Some(Event::Message(message)) = decoded.event else { panic!("{decoded:?}") };
        assert_eq!((message.kind, message.content.as_ref()), (Kind::Text, &b"card [CARD]."[..]));
        assert_ne!(frame[2..6], KEY, "a key of our own");
        let answers = [answered(0x01, b"a"), answered(0x89, b"?"), answered(0x80, b"b"), answered(0x81, b"c")].concat();
        endpoint.write_all(&answers).await.unwrap();
        expect(&mut client, &answers).await;
        for (bytes, back) in
            [(said(0x8a, b"?"), &[][..]), (said(0x88, b"\x03\xe8bye"), &answered(0x88, b"\x03\xe8bye"))]
        {
            client.write_all(&bytes).await.unwrap();
            expect(&mut endpoint, &bytes).await;
            endpoint.write_all(back).await.unwrap();
            expect(&mut client, back).await;
        }
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection ends with the second goodbye");
        assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0);
    });
    assert_eq!(ended.cause, Cause::Closed);
    assert_eq!(ended.client.unwrap().reason, "bye");
    assert_eq!(ended.endpoint.unwrap().code, Some(1000));
    assert_eq!((ended.sent.messages, ended.received.messages), (2, 2));
    assert_eq!(log.text(), "ab|c|");
}

#[test]
fn a_frame_of_the_endpoint_passes_before_it_is_whole_and_is_recorded_first() {
    let (ended, log) = quiet(|mut client, mut endpoint| async move {
        let frame = answered(0x81, b"slowly");
        for byte in &frame {
            endpoint.write_all(&[*byte]).await.unwrap();
            if byte != &frame[0] {
                // The head is passed on when it is known.
                expect(&mut client, if byte == &frame[1] { &frame[..2] } else { std::slice::from_ref(byte) }).await;
            }
        }
        drop(endpoint);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
    });
    assert_eq!((ended.cause, ended.received.messages), (Cause::Ended(Peer::Endpoint), 1));
    assert_eq!(log.text(), "slowly|");
}

#[test]
fn half_a_message_never_leaves() {
    let (ended, _) = quiet(|mut client, mut endpoint| async move {
        client.write_all(&said(0x01, b"half")).await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0, "the end passes, the half does not");
        // Only the client's direction is over.
        let late = answered(0x81, b"late");
        endpoint.write_all(&late).await.unwrap();
        expect(&mut client, &late).await;
        drop(endpoint);
        drop(client);
    });
    assert_eq!((ended.cause, ended.sent), (Cause::Ended(Peer::Client), Count::default()));
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_and_the_endpoint_loses_nothing_but_it() {
    let (ended, _) = quiet(|mut client, endpoint| async move {
        client.write_all(&said(0x83, b"")).await.unwrap();
        let (code, reason) = goodbye(client, false).await;
        assert_eq!(
            (code, reason.as_str()),
            (1002, "the client broke the WebSocket protocol: the opcode 3 is reserved")
        );
        assert_eq!(goodbye(endpoint, true).await, (1001, String::new()));
    });
    assert_eq!(ended.cause, Cause::Failed(Failure::Violation { by: Peer::Client, error: Error::Opcode(3) }));
}

#[test]
fn an_endpoint_that_breaks_the_protocol_is_told_after_what_it_said_properly_has_passed() {
    let (ended, log) = quiet(|mut client, mut endpoint| async move {
        let good = answered(0x81, b"good");
        endpoint.write_all(&[good.clone(), answered(0x81, b"\xff")].concat()).await.unwrap();
        expect(&mut client, &good).await;
        assert_eq!(goodbye(client, false).await.0, 1011);
        assert_eq!(goodbye(endpoint, true).await.0, 1007);
    });
    assert_eq!(ended.cause, Cause::Failed(Failure::Violation { by: Peer::Endpoint, error: Error::Utf8 }));
    assert_eq!(log.text(), "good|");
}

#[test]
fn within_a_frame_the_connection_just_ends() {
    let (ended, _) = quiet(|mut client, mut endpoint| async move {
        endpoint.write_all(b"\x81\x05ab").await.unwrap();
        expect(&mut client, b"\x81\x05ab").await;
        endpoint.write_all(b"\xff").await.unwrap();
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "no close frame in the middle of another");
        drop(client);
        assert_eq!(goodbye(endpoint, true).await.0, 1007);
    });
    assert!(matches!(ended.cause, Cause::Failed(Failure::Violation { by: Peer::Endpoint, .. })));
}

#[test]
fn a_refused_message_ends_the_session_with_the_rule_and_never_leaves() {
    for (frame, reason) in [
        (said(0x81, b"this is forbidden"), "rule policy.findings, audit id 7"),
        (said(0x89, SECRET.as_bytes()), "a card in a ping"),
    ] {
        let (ended, _) = quiet(|mut client, mut endpoint| async move {
            // The endpoint is in the middle of a frame, which comes first.
            endpoint.write_all(b"\x81\x02a").await.unwrap();
            expect(&mut client, b"\x81\x02a").await;
            client.write_all(&frame).await.unwrap();
            endpoint.write_all(b"b").await.unwrap();
            expect(&mut client, b"b").await;
            assert_eq!(goodbye(client, false).await, (1008, reason.to_owned()));
            assert_eq!(goodbye(endpoint, true).await, (1001, String::new()));
        });
        assert_eq!(ended.cause, Cause::Failed(Failure::Refused { code: 1008, reason: reason.into() }));
        assert_eq!(ended.sent, Count::default());
    }
}

#[test]
fn a_message_for_which_there_is_no_room_is_refused_while_it_arrives() {
    let mut rules = Rules { most: 100, ..Rules::default() };
    let ended =
        session(settings(), &mut rules, &Log::default(), std::future::pending(), |mut client, endpoint| async move {
            client.write_all(&said(0x01, &[b'a'; 60])).await.unwrap();
            assert_eq!(goodbye(client, false).await, (1013, "no room".to_owned()));
            drop(endpoint);
        });
    assert!(matches!(ended.cause, Cause::Failed(Failure::Refused { code: 1013, .. })));
}

#[test]
fn what_cannot_be_recorded_does_not_reach_the_client() {
    let (ended, _) = quiet(|client, mut endpoint| async move {
        endpoint.write_all(&answered(0x81, b"full")).await.unwrap();
        assert_eq!(goodbye(client, false).await, (1011, "the interceptor failed: the log is full".to_owned()));
        drop(endpoint);
    });
    assert_eq!(ended.cause, Cause::Failed(Failure::Internal("the log is full".into())));
}

#[test]
fn while_a_message_waits_for_a_decision_the_endpoint_goes_on_and_its_end_ends_the_wait() {
    let mut rules = Rules::default();
    let waiting = Rc::clone(&rules.waiting);
    let log = Log::default();
    let ended = session(settings(), &mut rules, &log, std::future::pending(), |mut client, mut endpoint| async move {
        client.write_all(&said(0x81, b"wait")).await.unwrap();
        waiting.notified().await;
        let answer = answered(0x81, b"meanwhile");
        endpoint.write_all(&answer).await.unwrap();
        expect(&mut client, &answer).await;
        endpoint.write_all(b"\xff").await.unwrap();
        assert_eq!(goodbye(client, false).await.0, 1011);
        drop(endpoint);
    });
    assert!(matches!(ended.cause, Cause::Failed(Failure::Violation { by: Peer::Endpoint, .. })));
    assert_eq!((ended.sent, log.text().as_str()), (Count::default(), "meanwhile|"));
}

#[test]
fn a_client_that_says_more_than_the_endpoint_takes_waits() {
    let (ended, _) = quiet(|mut client, mut endpoint| async move {
        let ping = said(0x89, &[7; 100]);
        let mut sent = 0;
        // Pings without end: at some point everything between the two is full.
        while tokio::time::timeout(Duration::from_millis(100), client.write_all(&ping)).await.is_ok() {
            sent += 1;
            assert!(sent < 200, "nobody reads, so somebody must be holding them");
        }
        let mut taken = vec![0; sent * ping.len()];
        endpoint.read_exact(&mut taken).await.unwrap();
        assert!(taken.chunks(ping.len()).all(|frame| frame == ping));
        drop((client, endpoint));
    });
    // Both went away at once: which of them is noticed first is chance.
    assert!(matches!(ended.cause, Cause::Ended(_) | Cause::Broken { .. }), "{ended:?}");
}

#[test]
fn a_goodbye_that_is_not_answered_is_waited_for_no_longer_than_allowed() {
    let settings = Settings { closing: Duration::from_millis(50), ..settings() };
    let ended = session(
        settings,
        &mut Rules::default(),
        &Log::default(),
        std::future::pending(),
        |mut client, mut endpoint| async move {
            let bye = said(0x88, b"\x03\xe8");
            client.write_all(&bye).await.unwrap();
            expect(&mut endpoint, &bye).await;
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0);
        },
    );
    assert_eq!((ended.cause, ended.client.unwrap().code), (Cause::Ended(Peer::Endpoint), Some(1000)));
}

#[test]
fn an_idle_session_is_ended_and_one_in_which_either_side_talks_is_not() {
    let settings = Settings { idle: Some(Duration::from_millis(200)), ..settings() };
    let log = Log::default();
    let ended =
        session(settings, &mut Rules::default(), &log, std::future::pending(), |mut client, mut endpoint| async move {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let word = answered(0x81, b"w");
                endpoint.write_all(&word).await.unwrap();
                expect(&mut client, &word).await;
            }
            assert_eq!(goodbye(client, false).await.0, 1001);
            assert_eq!(goodbye(endpoint, true).await.0, 1001);
        });
    assert_eq!((ended.cause, log.text().as_str()), (Cause::Failed(Failure::Idle), "w|w|w|w|w|w|"));
}

#[test]
fn when_the_process_leaves_both_sides_are_told() {
    let leave = Rc::new(Notify::new());
    let leaves = Rc::clone(&leave);
    let ended = session(
        settings(),
        &mut Rules::default(),
        &Log::default(),
        async move { leaves.notified().await },
        |client, endpoint| async move {
            leave.notify_one();
            assert_eq!(goodbye(client, false).await.0, 1001);
            assert_eq!(goodbye(endpoint, true).await.0, 1001);
        },
    );
    assert_eq!(ended.cause, Cause::Failed(Failure::Leaving));
}

#[test]
fn what_came_with_the_handshake_belongs_to_the_session() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let log = Log::default();
    let ended = runtime.block_on(async {
        let (mut client, near) = duplex(1 << 10);
        let (far, mut endpoint) = duplex(1 << 10);
        let bye = said(0x88, b"");
        let client_end = End { stream: near, buffered: bye.clone().into() };
        let first = [answered(0x81, b"welcome"), close_frame(1000, "", None).to_vec()].concat();
        let endpoint_end = End { stream: far, buffered: first.clone().into() };
        let (negotiated, mut rules, mut record) = (Negotiated::default(), Rules::default(), log.clone());
        let run =
            run(client_end, endpoint_end, &negotiated, settings(), &mut rules, &mut record, std::future::pending());
        let peers = async {
            expect(&mut client, &first).await;
            expect(&mut endpoint, &bye).await;
            drop((client, endpoint));
        };
        tokio::join!(run, peers).0
    });
    assert_eq!((ended.cause, log.text().as_str()), (Cause::Closed, "welcome|"));
    assert!(matches!(ended.client, Some(Close { code: None, .. })));
}

#[test]
fn what_follows_a_goodbye_is_not_passed_on() {
    let (ended, _) = quiet(|mut client, mut endpoint| async move {
        let bye = said(0x88, b"\x03\xe8");
        client.write_all(&[bye.clone(), said(0x81, b"more")].concat()).await.unwrap();
        expect(&mut endpoint, &bye).await;
        endpoint.write_all(&answered(0x88, b"\x03\xe8")).await.unwrap();
        expect(&mut client, &answered(0x88, b"\x03\xe8")).await;
        assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0);
        drop((client, endpoint));
    });
    assert_eq!((ended.cause, ended.sent.messages), (Cause::Closed, 0));
}
