//! The fuzz entry: what holds for any bytes.

use super::{Deflate, Error, Event, Kind, Limits, Message, Messages, Outbound, Peer, Pieces, Seen};

const LIMITS: Limits = Limits { message: 64 << 10, raw: 16 << 10, fragments: 64 };

/// Whole events, or the messages put together again from pieces, and the error at the end.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    messages: Vec<(Kind, Vec<u8>)>,
    controls: Vec<Vec<u8>>,
    error: Option<Error>,
}

/// Fuzz entry: frames of either side decode the same however they are cut and whether they are held or streamed; what is
/// held stays bounded; what leaves unedited is what came. The first byte chooses the session.
#[doc(hidden)]
pub fn fuzz_websocket(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let sender = if choice & 1 == 0 { Peer::Client } else { Peer::Endpoint };
    let deflate = (choice & 2 != 0).then(|| Deflate {
        client_no_context_takeover: choice & 4 != 0,
        server_no_context_takeover: choice & 4 != 0,
        client_max_window_bits: 8 + (choice >> 3 & 7),
        server_max_window_bits: 8 + (choice >> 3 & 7),
    });
    let step = usize::from(data.first().copied().unwrap_or(0)) % 13 + 2;
    let whole = held(sender, deflate.as_ref(), data, usize::MAX);
    let streamed_whole = streamed(sender, deflate.as_ref(), data, usize::MAX);
    // What is streamed is held by nobody, so that two limits have no meaning there.
    if !matches!(whole.error, Some(Error::MessageTooLarge { .. } | Error::TooManyFragments { .. })) {
        assert_eq!(whole, streamed_whole);
    }
    for cut in [1, step] {
        assert_eq!(whole, held(sender, deflate.as_ref(), data, cut));
        assert_eq!(streamed_whole, streamed(sender, deflate.as_ref(), data, cut));
    }
}

fn held(sender: Peer, deflate: Option<&Deflate>, data: &[u8], cut: usize) -> Heard {
    let mut messages = Messages::of(sender, deflate, LIMITS);
    let mut outbound = Outbound::new(deflate);
    let (mut heard, mut buffer, mut raw, mut consumed_in_all) = (Heard::default(), Vec::new(), 0, 0);
    for piece in data.chunks(cut.min(data.len().max(1))) {
        buffer.extend_from_slice(piece);
        loop {
            let decoded = match messages.decode(&buffer) {
                Ok(decoded) => decoded,
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            };
            consumed_in_all += decoded.consumed;
            buffer.drain(..decoded.consumed);
            assert!(messages.held() <= LIMITS.message + LIMITS.raw);
            match decoded.event {
                None if decoded.consumed == 0 => break,
                None => {}
                Some(Event::Control(control)) => {
                    raw += control.raw.len();
                    heard.controls.push(control.payload.to_vec());
                }
                Some(Event::Message(message)) => {
                    raw += message.raw.len();
                    heard.messages.push((message.kind, message.content.to_vec()));
                    assert_eq!(outbound.message(&message, &message.content, [0; 4]), Ok(message.raw.clone()));
                    survives(sender, &message);
                }
            }
            assert!(raw <= consumed_in_all);
        }
        assert!(buffer.len() < 14 + 125, "only the beginning of a head, or of a control frame, is left");
    }
    heard
}

/// Content sent in a frame of our own arrives.
fn survives(sender: Peer, message: &Message) {
    if sender != Peer::Client {
        return;
    }
    for deflate in [None, Some(Deflate::default())] {
        let compressed = deflate.is_some();
        let before = Message { compressed, content: [b"x", &message.content[..]].concat().into(), ..message.clone() };
        let sent =
            Outbound::new(deflate.as_ref()).message(&before, &message.content, [1, 2, 3, 4]).expect("it is valid");
        let decoded = Messages::new(deflate.as_ref(), Limits::default()).decode(&sent).expect("our frames are valid");
        let Some(Event::Message(again)) = decoded.event else { panic!("our frames are whole: {decoded:?}") };
        assert_eq!((&again.content, again.compressed, &again.raw), (&message.content, compressed, &sent));
    }
}

fn streamed(sender: Peer, deflate: Option<&Deflate>, data: &[u8], cut: usize) -> Heard {
    let mut pieces = Pieces::of(sender, deflate, LIMITS);
    let (mut heard, mut buffer, mut message) = (Heard::default(), Vec::new(), Vec::new());
    for piece in data.chunks(cut.min(data.len().max(1))) {
        buffer.extend_from_slice(piece);
        loop {
            let stretch = match pieces.decode(&buffer) {
                Ok(stretch) => stretch,
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            };
            buffer.drain(..stretch.consumed);
            match stretch.seen {
                None if stretch.consumed == 0 => break,
                None => {}
                Some(Seen::Control(control)) => heard.controls.push(control.payload.to_vec()),
                Some(Seen::Piece(piece)) => {
                    message.extend_from_slice(&piece.content);
                    if piece.last {
                        heard.messages.push((piece.kind, std::mem::take(&mut message)));
                    }
                }
            }
        }
    }
    heard
}
