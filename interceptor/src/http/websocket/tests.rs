//! Claims about the codec. Frames are written by hand or by a writer of the tests' own, and decompressed by flate2 alone.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::super::{Limits as HttpLimits, RequestHead, ResponseHead};
use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame, written byte by byte.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
    key: Option<[u8; 4]>,
}

impl Frame {
    fn new(first: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { first, payload: payload.as_ref().to_vec(), key: Some(KEY) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.first];
        let mask = if self.key.is_some() { 0x80 } else { 0 };
        match self.payload.len() {
            n if n < 126 => out.push(mask | n as u8),
            n if n < 65536 => {
                out.push(mask | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(mask | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(self.key.iter().flatten());
        let key = self.key.unwrap_or_default();
        out.extend(self.payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
        out
    }
}

fn wire(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// What the client says in frames `first byte, payload`.
fn client(frames: &[(u8, &[u8])]) -> Vec<u8> {
    wire(&frames.iter().map(|(first, payload)| Frame::new(*first, payload)).collect::<Vec<_>>())
}

fn events(messages: &mut Messages, mut input: &[u8]) -> Result<Vec<Event>, Error> {
    let mut found = Vec::new();
    loop {
        let decoded = messages.decode(input)?;
        input = &input[decoded.consumed..];
        match decoded.event {
            Some(event) => found.push(event),
            None if decoded.consumed == 0 || input.is_empty() => return Ok(found),
            None => {}
        }
    }
}

fn hear(bytes: &[u8]) -> Result<Vec<Event>, Error> {
    events(&mut Messages::new(None, Limits::default()), bytes)
}

fn compressing() -> Deflate {
    Deflate::default()
}

fn hear_compressed(bytes: &[u8]) -> Result<Vec<Event>, Error> {
    events(&mut Messages::new(Some(&compressing()), Limits::default()), bytes)
}

fn message(event: &Event) -> &Message {
    let Event::Message(message) = event else { panic!("not a message: {event:?}") };
    message
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let heard = hear(masked).unwrap();
    assert_eq!((message(&heard[0]).content.as_ref(), message(&heard[0]).raw.as_ref()), (&b"Hello"[..], &masked[..]));
    // RFC 7692, 7.2.3: compressed, again with the first as history, in two fragments, stored, and with a final block.
    let once = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let again = b"\xf2\x00\x11\x00\x00";
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    let bytes = client(&[
        (0xc1, once),
        (0xc1, again),
        (0x41, &once[..3]),
        (0x80, &once[3..]),
        (0xc1, stored),
        (0xc1, two),
        (0xc1, last),
        (0xc1, once),
    ]);
    let heard = hear_compressed(&bytes).unwrap();
    assert_eq!(heard.len(), 7);
    assert!(heard.iter().all(|event| message(event).content == "Hello" && message(event).compressed), "{heard:?}");
    assert_eq!(heard.iter().map(|event| message(event).raw.clone()).collect::<Vec<_>>().concat(), bytes);
}

#[test]
fn control_frames_within_a_message_come_before_it_and_are_not_in_its_bytes() {
    let bytes =
        client(&[(0x01, b"one "), (0x89, b"ping"), (0x00, b"two "), (0x8a, b""), (0x80, b"three"), (0x88, b"")]);
    let heard = hear(&bytes).unwrap();
    let controls = |event: &Event| matches!(event, Event::Control(_));
    assert_eq!(heard.iter().map(controls).collect::<Vec<_>>(), [true, true, false, true]);
    let Event::Control(ping) = &heard[0] else { unreachable!() };
    assert_eq!((ping.payload.as_ref(), ping.raw.clone()), (&b"ping"[..], Bytes::from(client(&[(0x89, b"ping")]))));
    assert_eq!(message(&heard[2]).content, "one two three");
    assert_eq!(message(&heard[2]).raw, client(&[(0x01, b"one "), (0x00, b"two "), (0x80, b"three")]));
}

#[test]
fn nothing_has_a_meaning_behind_a_close_frame() {
    let mut messages = Messages::new(None, Limits::default());
    let bytes = [client(&[(0x88, b"\x03\xe8bye"), (0x81, b"more")]), vec![0xff; 9]].concat();
    let heard = events(&mut messages, &bytes).unwrap();
    let [Event::Control(Control { kind: ControlKind::Close(close), .. })] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((close.code, close.reason.as_str()), (Some(1000), "bye"));
    assert_eq!(messages.decode(b"\xff\xff").unwrap(), Decoded { consumed: 2, event: None });
}

#[test]
fn refuses_every_deviation_of_a_head() {
    let rules: &[(&[u8], Error)] = &[
        (b"\xa1\x80", Error::ReservedBit),
        (b"\x91\x80", Error::ReservedBit),
        (b"\xc1\x80", Error::ReservedBit),
        (b"\x83\x80", Error::Opcode(3)),
        (b"\x87\x80", Error::Opcode(7)),
        (b"\x8b\x80", Error::Opcode(11)),
        (b"\x8f\x80", Error::Opcode(15)),
        (b"\x81\x05Hello", Error::Unmasked),
        (b"\x09\x80", Error::FragmentedControl),
        (b"\x08\x80", Error::FragmentedControl),
        (b"\x89\xfe", Error::LongControl),
        (b"\x88\xff", Error::LongControl),
        (b"\x80\x80", Error::NothingToContinue),
        (b"\x00\x80", Error::NothingToContinue),
        (b"\x01\x80\0\0\0\0\x81\x80", Error::Interrupted),
        (b"\x01\x80\0\0\0\0\x02\x80", Error::Interrupted),
        (b"\x82\xfe\x00\x7d", Error::LengthNotMinimal),
        (b"\x82\xff\0\0\0\0\0\0\xff\xff", Error::LengthNotMinimal),
        (b"\x82\xff\x80\0\0\0\0\0\0\0", Error::Length),
        (b"\x82\xff\x7f\0\0\0\0\0\0\0\0\0\0\0", Error::MessageTooLarge { limit: 32 << 20 }),
        (b"\x88\x81\0\0\0\0\x03", Error::CloseLength),
        (b"\x88\x82\0\0\0\0\x03\xe7", Error::CloseCode(999)),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", Error::Utf8),
    ];
    for (bytes, error) in rules {
        assert_eq!(hear(bytes).unwrap_err(), *error, "{bytes:x?}");
        assert!((1002..=1009).contains(&error.code()));
    }
    for (bytes, error) in [
        (&b"\xc9\x80"[..], Error::CompressionBit),
        (b"\x41\x80\0\0\0\0\xc0\x80", Error::CompressionBit),
        (b"\xd1\x80", Error::ReservedBit),
        (b"\xc3\x80", Error::Opcode(3)),
    ] {
        assert_eq!(hear_compressed(bytes).unwrap_err(), error, "{bytes:x?}");
    }
    let endpoint = Pieces::new(None, Limits::default()).decode(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(endpoint.unwrap_err(), Error::Masked);
}

#[test]
fn only_status_codes_that_may_be_sent_are_taken() {
    let close = |code: u16| hear(&client(&[(0x88, &code.to_be_bytes())]));
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999] {
        assert!(close(code).is_ok(), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(close(code).unwrap_err(), Error::CloseCode(code));
    }
    assert!(hear(&client(&[(0x88, b"")])).is_ok());
}

#[test]
fn text_is_refused_at_its_first_byte_that_cannot_be() {
    // The frame announces more than has arrived.
    let bytes = [&b"\x81\xbe"[..], &KEY, &[0xce ^ KEY[0], 0xba ^ KEY[1], 0xf4 ^ KEY[2], 0x90 ^ KEY[3]]].concat();
    assert!(hear(&bytes[..9]).is_ok());
    assert_eq!(hear(&bytes).unwrap_err(), Error::Utf8);
    assert!(hear(&client(&[(0x01, b"\xce"), (0x80, b"\xba")])).is_ok(), "a character may be cut");
    assert_eq!(hear(&client(&[(0x81, b"\xce")])).unwrap_err(), Error::Utf8);
    assert!(hear(&client(&[(0x82, b"\xce")])).is_ok(), "binary is not text");
    let compressed = deflate(&mut Compress::new(Compression::default(), false), b"ok \xff");
    assert_eq!(hear_compressed(&client(&[(0xc1, &compressed)])).unwrap_err(), Error::Utf8);
    assert!(hear_compressed(&client(&[(0xc2, &compressed)])).is_ok());
}

#[test]
fn what_cannot_be_inflated_by_all_readers_alike_is_refused() {
    assert_eq!(hear_compressed(&client(&[(0xc1, b"\xff\xff\xff")])).unwrap_err(), Error::Inflate);
    // A final block, and another one behind it that some readers overlook.
    let two = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(hear_compressed(&client(&[(0xc1, two)])).unwrap_err(), Error::BehindFinalBlock);
    // A reference to a message before, which there is none of without takeover.
    let alone = Deflate { client_no_context_takeover: true, ..Deflate::default() };
    let bytes = client(&[(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"), (0xc1, b"\xf2\x00\x11\x00\x00")]);
    let mut messages = Messages::new(Some(&alone), Limits::default());
    assert_eq!(events(&mut messages, &bytes).unwrap_err(), Error::Inflate);
}

#[test]
fn a_few_bytes_do_not_become_millions() {
    let limits = Limits { message: 1 << 20, ..Limits::default() };
    let bomb = deflate(&mut Compress::new(Compression::best(), false), &vec![0; 8 << 20]);
    assert!(bomb.len() < 16 << 10);
    let refused = events(&mut Messages::new(Some(&compressing()), limits), &client(&[(0xc2, &bomb)]));
    assert_eq!(refused.unwrap_err(), Error::MessageTooLarge { limit: 1 << 20 });
    let frame = Frame { key: None, ..Frame::new(0xc2, &bomb) }.bytes();
    let mut pieces = Pieces::new(Some(&compressing()), limits);
    let (mut seen, mut rest) = (0, &frame[..]);
    let error = loop {
        match pieces.decode(rest) {
            Ok(Stretch { consumed, seen: Some(Seen::Piece(piece)) }) => {
                assert!(piece.content.len() <= 16 << 10, "piece by piece");
                rest = &rest[consumed..];
                seen += piece.content.len();
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!((error, seen), (Error::MessageTooLarge { limit: 1 << 20 }, 1 << 20));
}

#[test]
fn what_is_held_is_bounded_by_every_measure() {
    let limits = Limits { message: 10, raw: 60, fragments: 3 };
    let told = |frames: &[(u8, &[u8])]| events(&mut Messages::new(None, limits), &client(frames));
    assert!(told(&[(0x01, b"12345"), (0x80, b"67890")]).is_ok());
    assert_eq!(told(&[(0x01, b"12345"), (0x80, b"678901")]).unwrap_err(), Error::MessageTooLarge { limit: 10 });
    assert_eq!(
        told(&[(0x01, b""), (0x00, b""), (0x00, b""), (0x80, b"")]).unwrap_err(),
        Error::TooManyFragments { limit: 3 }
    );
    let raw = Limits { fragments: 100, ..limits };
    let empty = client(&[&[(0x01, &b""[..])][..], &[(0x00, &b""[..]); 20]].concat());
    assert_eq!(events(&mut Messages::new(None, raw), &empty).unwrap_err(), Error::MessageTooLarge { limit: 60 });
    let mut messages = Messages::new(None, Limits::default());
    // A head that announces much costs nothing yet.
    messages.decode(b"\x82\xff\0\0\0\0\x01\0\0\0\0\0\0\0").unwrap();
    assert!((1..100).contains(&messages.held()));
}

#[test]
fn an_endpoints_bytes_pass_with_all_they_say_and_end_where_a_frame_does() {
    let frames =
        [(0x01, &b"one "[..]), (0x89, b"p"), (0x80, b"two"), (0x82, b""), (0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00")];
    let unmasked = frames.map(|(first, payload)| Frame { key: None, ..Frame::new(first, payload) });
    let bytes = wire(&unmasked);
    for cut in 1..bytes.len() {
        let mut pieces = Pieces::new(Some(&compressing()), Limits::default());
        let (mut passed, mut texts, mut buffer, mut boundaries) = (0, vec![Vec::new()], Vec::new(), 0);
        for chunk in bytes.chunks(cut) {
            buffer.extend_from_slice(chunk);
            loop {
                let Stretch { consumed, seen } = pieces.decode(&buffer).unwrap();
                buffer.drain(..consumed);
                passed += consumed;
                boundaries += usize::from(consumed > 0 && pieces.at_boundary());
                match seen {
                    None if consumed == 0 => break,
                    None => {}
                    Some(Seen::Control(control)) => assert_eq!(control.payload, "p"),
                    Some(Seen::Piece(piece)) => {
                        texts.last_mut().unwrap().extend_from_slice(&piece.content);
                        if piece.last {
                            texts.push(Vec::new());
                        }
                    }
                }
            }
        }
        assert_eq!((passed, boundaries), (bytes.len(), frames.len()), "cut at {cut}");
        assert_eq!(texts, [&b"one two"[..], b"", b"Hello", b""], "cut at {cut}");
    }
}

#[test]
fn payloads_are_masked_with_the_key_turned_to_their_place() {
    let plain: Vec<u8> = (0..100).collect();
    for offset in 0..9 {
        for len in 0..plain.len() - offset {
            let mut bytes = plain[offset..offset + len].to_vec();
            frame::apply_mask(&mut bytes, KEY, offset);
            assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == plain[offset + at] ^ KEY[(offset + at) % 4]));
        }
    }
}

#[test]
fn a_close_frame_is_valid_whatever_the_reason() {
    for reason in ["", "policy", &"ä".repeat(200)] {
        let masked = close_frame(1008, reason, Some(KEY));
        let heard = hear(&masked).unwrap();
        let [Event::Control(Control { kind: ControlKind::Close(close), .. })] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!(close.code, Some(1008));
        assert!(reason.starts_with(&close.reason) && close.reason.len() >= reason.len().min(122));
        assert!(Pieces::new(None, Limits::default()).decode(&close_frame(1008, reason, None)).unwrap().seen.is_some());
    }
}

#[test]
fn each_side_is_told_what_it_did_unless_it_was_told_to_close_before() {
    let code = |frame: Option<Bytes>, masked: bool| {
        frame.map(|frame| {
            assert_eq!(frame[1] & 0x80 != 0, masked);
            let payload = if masked { [frame[6] ^ KEY[0], frame[7] ^ KEY[1]] } else { [frame[2], frame[3]] };
            u16::from_be_bytes(payload)
        })
    };
    let told = |session: &Session, failure: &Failure| {
        let Farewell { to_client, to_endpoint } = session.failed(failure, KEY);
        (code(to_client, false), code(to_endpoint, true))
    };
    let open = Session::default();
    let client = Failure::Violation { by: Peer::Client, error: Error::Utf8 };
    let endpoint = Failure::Violation { by: Peer::Endpoint, error: Error::Masked };
    let refused = Failure::Refused { code: 1008, reason: "denied by policy.findings, audit id 7".into() };
    assert_eq!(told(&open, &client), (Some(1007), Some(1001)));
    assert_eq!(told(&open, &endpoint), (Some(1011), Some(1002)));
    assert_eq!(told(&open, &refused), (Some(1008), Some(1001)));
    assert_eq!(told(&open, &Failure::Internal("log".into())), (Some(1011), Some(1001)));
    assert_eq!(told(&open, &Failure::Leaving), (Some(1001), Some(1001)));
    let frame = open.failed(&refused, KEY).to_client.unwrap();
    assert_eq!(&frame[4..], b"denied by policy.findings, audit id 7");
    let mut closing = Session::default();
    closing.closed(Peer::Client, Close { code: Some(1000), reason: String::new() });
    assert_eq!(told(&closing, &endpoint), (Some(1011), None), "the endpoint has the client's close frame");
    closing.closed(Peer::Endpoint, Close { code: None, reason: String::new() });
    assert!(closing.is_over() && told(&closing, &client) == (None, None));
}

fn request(lines: &str) -> Result<Option<Upgrade>, HandshakeError> {
    let text = format!("GET /v1/realtime HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    let (head, _) = RequestHead::parse(text.as_bytes(), &HttpLimits::default()).unwrap().unwrap();
    Upgrade::of(&head)
}

fn answer(upgrade: &Upgrade, lines: &str) -> Result<Negotiated, HandshakeError> {
    let text = format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n");
    let (head, _) = ResponseHead::parse(text.as_bytes(), &HttpLimits::default()).unwrap().unwrap();
    upgrade.accepted(head.fields())
}

const ASKS: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

const SWITCHES: &str =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

#[test]
fn the_handshake_of_the_rfc_is_accepted() {
    let upgrade = request(&format!("{ASKS}Sec-WebSocket-Protocol: chat, superchat\r\n")).unwrap().unwrap();
    let negotiated = answer(&upgrade, &format!("{SWITCHES}Sec-WebSocket-Protocol: chat\r\n")).unwrap();
    assert_eq!(negotiated, Negotiated { deflate: None, protocol: Some("chat".into()) });
    assert_eq!(request("Upgrade: h2c\r\n"), Ok(None));
    assert_eq!(request(""), Ok(None));
}

#[test]
fn a_handshake_that_two_readers_could_take_differently_is_refused() {
    for (from, to, error) in [
        ("websocket", "websocket, h2c", HandshakeError::Upgrade),
        ("keep-alive, Upgrade", "keep-alive", HandshakeError::Upgrade),
        ("13", "8", HandshakeError::Version),
        ("Sec-WebSocket-Version: 13\r\n", "", HandshakeError::Version),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", HandshakeError::Key),
        ("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!", HandshakeError::Key),
        (
            "\r\nSec-WebSocket-Version",
            "\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version",
            HandshakeError::Key,
        ),
        ("Sec-WebSocket-Version", "Content-Length: 5\r\nSec-WebSocket-Version", HandshakeError::Request),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Protocol: a, a\r\nSec-WebSocket-Version", HandshakeError::Protocols),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Protocol: a b\r\nSec-WebSocket-Version", HandshakeError::Protocols),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Extensions: a;\r\nSec-WebSocket-Version", HandshakeError::Extensions),
        (
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions: a; b=\"\r\nSec-WebSocket-Version",
            HandshakeError::Extensions,
        ),
    ] {
        assert_eq!(request(&ASKS.replace(from, to)), Err(error), "{to}");
    }
    let upgrade = request(ASKS).unwrap().unwrap();
    for (from, to, error) in [
        ("s3p", "S3p", HandshakeError::Accept),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "", HandshakeError::Accept),
        ("Upgrade: websocket\r\n", "", HandshakeError::Upgrade),
        ("Upgrade: websocket", "Upgrade: h2c", HandshakeError::Upgrade),
        ("Sec-WebSocket-Accept", "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept", HandshakeError::Protocol),
    ] {
        assert_eq!(answer(&upgrade, &SWITCHES.replace(from, to)), Err(error), "{to}");
    }
}

#[test]
fn only_an_extension_that_was_offered_and_can_be_read_is_accepted() {
    let agreed = |offer: &str, answer_: &str| {
        let upgrade = request(&format!("{ASKS}Sec-WebSocket-Extensions: {offer}\r\n")).unwrap().unwrap();
        answer(&upgrade, &format!("{SWITCHES}Sec-WebSocket-Extensions: {answer_}\r\n")).map(|agreed| agreed.deflate)
    };
    const OFFER: &str =
        "permessage-deflate; client_max_window_bits; server_max_window_bits=12, permessage-deflate, x-other";
    let all = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
        client_max_window_bits=\"9\"; server_max_window_bits = 8";
    let expected = Deflate {
        client_no_context_takeover: true,
        server_no_context_takeover: true,
        client_max_window_bits: 9,
        server_max_window_bits: 8,
    };
    assert_eq!(agreed(OFFER, all), Ok(Some(expected)));
    assert_eq!(agreed(OFFER, "permessage-deflate"), Ok(Some(Deflate::default())));
    for (offer, answer, error) in [
        ("x-other", "permessage-deflate", HandshakeError::NotOffered),
        ("permessage-deflate", "permessage-deflate; client_max_window_bits=9", HandshakeError::NotOffered),
        (OFFER, "x-other", HandshakeError::Unreadable("x-other".into())),
        (OFFER, "permessage-deflate, x-other", HandshakeError::Unreadable("x-other".into())),
        (OFFER, "permessage-deflate, permessage-deflate", HandshakeError::Unreadable("permessage-deflate".into())),
        (OFFER, "permessage-deflate; unknown", HandshakeError::DeflateParameters),
        (OFFER, "permessage-deflate; server_max_window_bits", HandshakeError::DeflateParameters),
        (OFFER, "permessage-deflate; server_max_window_bits=16", HandshakeError::DeflateParameters),
        (OFFER, "permessage-deflate; server_max_window_bits=7", HandshakeError::DeflateParameters),
        (OFFER, "permessage-deflate; server_max_window_bits=09", HandshakeError::DeflateParameters),
        (OFFER, "permessage-deflate; server_no_context_takeover=1", HandshakeError::DeflateParameters),
        (
            OFFER,
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            HandshakeError::DeflateParameters,
        ),
    ] {
        assert_eq!(agreed(offer, answer), Err(error), "{answer}");
    }
}

/// A message's payload, as a sender that keeps its context makes it.
fn deflate(stream: &mut Compress, content: &[u8]) -> Vec<u8> {
    if content.is_empty() {
        return vec![0];
    }
    let mut out = Vec::with_capacity(content.len() * 2 + 1024);
    stream.compress_vec(content, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// What an endpoint reads: frames taken apart by hand, decompressed by one stream.
struct Endpoint {
    inflate: Decompress,
    takeover: bool,
}

impl Endpoint {
    fn read(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let (mut payload, mut compressed) = (Vec::new(), None);
        while !bytes.is_empty() {
            compressed.get_or_insert(bytes[0] & 0x40 != 0);
            let (len, at) = match bytes[1] & 0x7f {
                126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
                127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
                short => (usize::from(short), 2),
            };
            let key = &bytes[at..at + 4];
            payload.extend(bytes[at + 4..at + 4 + len].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
            bytes = &bytes[at + 4 + len..];
        }
        if compressed != Some(true) {
            return payload;
        }
        payload.extend([0, 0, 0xff, 0xff]);
        let mut out = Vec::with_capacity(1 << 18);
        let before = self.inflate.total_in();
        self.inflate.decompress_vec(&payload, &mut out, FlushDecompress::Sync).unwrap();
        assert_eq!(self.inflate.total_in() - before, payload.len() as u64);
        if !self.takeover {
            self.inflate.reset(false);
        }
        out
    }
}

/// A message a client sends, and what becomes of it on the way.
#[derive(Clone, Debug)]
struct Step {
    content: String,
    compress: bool,
    fragments: usize,
    edit: Option<String>,
}

fn step() -> impl Strategy<Value = Step> {
    // Few words, so that compressors refer to other messages.
    let text = || prop_oneof![Just(String::new()), "(card |number |4111 1111 |lorem ipsum ){0,40}", "[a-z]{600}"];
    (text(), any::<bool>(), 1..5_usize, prop::option::weighted(0.3, text()))
        .prop_map(|(content, compress, fragments, edit)| Step { content, compress, fragments, edit })
}

fn deflates() -> impl Strategy<Value = Deflate> {
    (any::<bool>(), 8..=15_u8).prop_map(|(alone, bits)| Deflate {
        client_no_context_takeover: alone,
        client_max_window_bits: bits,
        ..Deflate::default()
    })
}

proptest! {
    #[test]
    fn the_endpoint_reads_what_was_intended_whatever_is_edited(
        deflates in deflates(),
        steps in prop::collection::vec(step(), 1..12),
        level in 0..10_u32,
    ) {
        let takeover = !deflates.client_no_context_takeover;
        let bits = deflates.client_max_window_bits;
        let level = if bits == 8 { 0 } else { level };
        let mut client = Compress::new_with_window_bits(Compression::new(level), false, bits.max(9));
        let mut messages = Messages::new(Some(&deflates), Limits::default());
        let mut outbound = Outbound::new(Some(&deflates));
        let mut endpoint = Endpoint { inflate: Decompress::new_with_window_bits(false, bits.max(9)), takeover };
        let mut edited_before = false;
        for step in steps {
            let payload =
                if step.compress { deflate(&mut client, step.content.as_bytes()) } else { step.content.clone().into_bytes() };
            if step.compress && !takeover {
                client.reset();
            }
            let size = payload.len().div_ceil(step.fragments).max(1);
            let mut pieces: Vec<&[u8]> = payload.chunks(size).collect();
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            let last = pieces.len() - 1;
            let frames: Vec<Frame> = pieces.iter().enumerate().map(|(at, piece)| {
                let opcode = if at > 0 { 0 } else if step.compress { 0x41 } else { 1 };
                Frame::new(opcode | if at == last { 0x80 } else { 0 }, piece)
            }).collect();
            let bytes = wire(&frames);
            let heard = events(&mut messages, &bytes).unwrap();
            let [Event::Message(message)] = &heard[..] else { panic!("{heard:?}") };
            prop_assert_eq!(&message.content, step.content.as_bytes());
            prop_assert_eq!(&message.raw, &bytes);
            let intended = Bytes::from(step.edit.clone().unwrap_or_else(|| step.content.clone()));
            let sent = outbound.message(message, &intended, [9, 8, 7, 6]).unwrap();
            let edited = intended != message.content;
            let diverged = edited_before && takeover && step.compress;
            if !(edited || diverged) {
                prop_assert_eq!(&sent, &bytes, "what nobody edits leaves as it came");
            }
            edited_before |= edited && step.compress;
            prop_assert_eq!(endpoint.read(&sent), intended);
        }
    }

    #[test]
    fn no_bytes_upset_the_decoder(choice in any::<u8>(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_websocket(&[&[choice], &data[..]].concat());
    }

    #[test]
    fn near_valid_frames_do_not_upset_the_decoder(
        choice in any::<u8>(),
        frames in prop::collection::vec((prop::sample::select(vec![0x81_u8, 1, 0, 0x80, 0x82, 0xc1, 0x41, 0x89, 0x8a, 0x88]), "[a-z]{0,140}", any::<bool>()), 1..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        change in any::<bool>(),
    ) {
        let frames: Vec<Frame> = frames.into_iter().map(|(first, text, compress)| {
            let mut payload = text.into_bytes();
            if compress || first & 0x40 != 0 {
                payload = deflate(&mut Compress::new(Compression::default(), false), &payload);
            }
            Frame { key: (choice & 1 == 0).then_some(KEY), ..Frame::new(first, payload) }
        }).collect();
        let mut bytes = [vec![choice], wire(&frames)].concat();
        if change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz_websocket(&bytes);
    }
}
