use proptest::prelude::*;

use super::*;

fn request(head: &str) -> Result<RequestHead, Error> {
    RequestHead::parse(head.as_bytes(), &Limits::default()).map(|parsed| parsed.expect("the head is complete").0)
}

fn response(head: &str) -> Result<ResponseHead, Error> {
    ResponseHead::parse(head.as_bytes(), &Limits::default()).map(|parsed| parsed.expect("the head is complete").0)
}

/// A valid POST with `lines` behind its Host.
fn post(lines: &str) -> Result<RequestHead, Error> {
    request(&format!("POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\n{lines}\r\n"))
}

#[test]
fn a_head_keeps_its_order_case_and_whitespace() {
    let raw = "POST /v1/chat/completions?a=b HTTP/1.1\r\nhOsT:api.openai.com:443\r\nX-B:   two words \t\r\n\
               x-a:\r\nCONTENT-length: 12\r\n\r\n";
    let (head, len) = RequestHead::parse(format!("{raw}rest").as_bytes(), &Limits::default()).unwrap().unwrap();
    assert_eq!(len, raw.len());
    assert_eq!(head.render(), raw.as_bytes());
    assert_eq!((head.method(), head.target()), ("POST", "/v1/chat/completions?a=b"));
    assert_eq!(head.host(), Some("api.openai.com:443"));
    assert_eq!(head.fields().get("x-b"), Some(b"two words".as_slice()));
    assert_eq!(head.fields().get("X-A"), Some(b"".as_slice()));
    assert_eq!(head.framing(), BodyFraming::Length(12));
    assert!(head.keep_alive() && !head.expects_continue());
}

#[test]
fn an_edit_touches_only_its_line() {
    let mut head = post("Content-LENGTH:  5 \r\nX-A: 1\r\n").unwrap();
    assert!(head.fields_mut().set_content_length(1234));
    assert_eq!(
        head.render(),
        b"POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-LENGTH:  1234 \r\nX-A: 1\r\n\r\n"
    );
    let mut answer = response("HTTP/1.1 200 OK\r\nalt-svc: h3=\":443\"\r\nA: 1\r\nAlt-Svc: clear\r\n\r\n").unwrap();
    assert_eq!(answer.fields_mut().remove("Alt-Svc"), 2);
    assert_eq!(answer.render(), b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n");
    assert!(!answer.fields_mut().set_content_length(1));
}

#[test]
fn connection_options_and_expectations_are_read() {
    assert!(!post("Connection: foo, Close\r\n").unwrap().keep_alive());
    assert!(post("Expect: 100-Continue\r\nContent-Length: 1\r\n").unwrap().expects_continue());
    assert_eq!(post("Upgrade: websocket\r\n").unwrap().upgrade(), Some(b"websocket".as_slice()));
    assert!(!request("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive());
    assert!(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive());
}

#[test]
fn a_target_in_absolute_form_must_name_the_host() {
    let head = request("GET https://api.openai.com/v1/models HTTP/1.1\r\nHost: API.openai.com\r\n\r\n").unwrap();
    assert_eq!(head.path(), "/v1/models");
    let other = request("GET https://evil.example/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n");
    assert_eq!(other.unwrap_err(), Error::TargetHostMismatch);
}

#[test]
fn names_an_http2_preface() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(RequestHead::parse(preface, &Limits::default()).unwrap_err(), Error::Http2Preface);
}

#[test]
fn limits_bound_a_head_that_never_ends() {
    let limits = Limits { head: 100, fields: 3, ..Limits::default() };
    let endless = [b'a'; 100];
    assert_eq!(RequestHead::parse(&endless, &limits).unwrap_err(), Error::HeadTooLarge { limit: 100 });
    assert!(RequestHead::parse(&endless[..99], &limits).unwrap().is_none());
    let fields = b"GET / HTTP/1.1\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\n\r\n";
    assert_eq!(RequestHead::parse(fields, &limits).unwrap_err(), Error::TooManyFields { limit: 3 });
}

#[test]
fn a_response_body_ends_as_rfc_9112_says() {
    let head = |text: &str| response(&format!("HTTP/1.1 {text}\r\n\r\n")).unwrap();
    assert_eq!(head("200 OK\r\nContent-Length: 3").framing("GET"), BodyFraming::Length(3));
    assert_eq!(head("200 OK\r\nContent-Length: 3").framing("HEAD"), BodyFraming::None);
    assert_eq!(head("200 OK\r\nTransfer-Encoding: Chunked").framing("GET"), BodyFraming::Chunked);
    let nominated =
        head("200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nConnection: Transfer-Encoding");
    assert_eq!(nominated.framing("GET"), BodyFraming::Chunked);
    assert_eq!(head("200").framing("GET"), BodyFraming::UntilClose);
    assert_eq!(head("204 No Content").framing("GET"), BodyFraming::None);
    assert_eq!(head("304 Not Modified\r\nContent-Length: 9").framing("GET"), BodyFraming::None);
    assert_eq!(head("100 Continue").framing("POST"), BodyFraming::None);
    assert!(head("103 Early Hints").is_interim() && !head("101 Switching Protocols").is_interim());
}

#[test]
fn refuses_responses_that_could_hide_a_second_one() {
    let refused = |head: &str| response(head).unwrap_err();
    assert_eq!(refused("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), Error::BodyForbidden);
    assert_eq!(refused("HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"), Error::BodyForbidden);
    assert_eq!(
        refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        Error::DuplicateContentLength
    );
    assert_eq!(
        refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Error::LengthAndTransferEncoding
    );
    assert_eq!(refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Error::TransferEncodingIn10);
    assert_eq!(refused("HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n"), Error::BareLf { offset: 15 });
    assert_eq!(refused("HTTP/1.1 099 No\r\n\r\n"), Error::StatusLine);
    assert_eq!(refused("HTTP/2.0 200 OK\r\n\r\n"), Error::Version);
}

/// Heads on which two readers could disagree about where the request ends or whom it is for.
#[test]
fn refuses_every_smuggling_variant_of_a_head() {
    let in_post: &[(&str, Error)] = &[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Error::LengthAndTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Error::LengthAndTransferEncoding),
        ("Content-Length: 5\r\ntransfer-encoding: identity\r\n", Error::LengthAndTransferEncoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Error::DuplicateContentLength),
        ("Content-Length: 5\r\nCONTENT-LENGTH: 5\r\n", Error::DuplicateContentLength),
        ("Content-Length: +5\r\n", Error::InvalidContentLength),
        ("Content-Length: -5\r\n", Error::InvalidContentLength),
        ("Content-Length: 5, 5\r\n", Error::InvalidContentLength),
        ("Content-Length: 5 6\r\n", Error::InvalidContentLength),
        ("Content-Length: 0x5\r\n", Error::InvalidContentLength),
        ("Content-Length: 5.0\r\n", Error::InvalidContentLength),
        ("Content-Length:\r\n", Error::InvalidContentLength),
        ("Content-Length:\t5\r\n", Error::InvalidContentLength),
        ("Content-Length: 18446744073709551616\r\n", Error::InvalidContentLength),
        ("Transfer-Encoding: chunked, identity\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Error::TransferEncoding),
        ("Transfer-Encoding:\tchunked\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: chunked\t\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: cHuNkEd\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", Error::TransferEncoding),
        ("Transfer-Encoding:\r\n", Error::TransferEncoding),
        ("Transfer-Encoding: \x0bchunked\r\n", Error::ControlCharacter { offset: 72 }),
        ("Transfer-Encoding: chun\0ked\r\n", Error::ControlCharacter { offset: 76 }),
        ("Transfer-Encoding : chunked\r\n", Error::WhitespaceBeforeColon { offset: 53 }),
        ("Transfer-Encoding\t: chunked\r\n", Error::WhitespaceBeforeColon { offset: 53 }),
        ("Content-Length : 5\r\n", Error::WhitespaceBeforeColon { offset: 53 }),
        ("Transfer-Encoding:\r\n chunked\r\n", Error::ObsFold { offset: 73 }),
        ("X: 1\r\n\tTransfer-Encoding: chunked\r\n", Error::ObsFold { offset: 59 }),
        ("X: 1\nTransfer-Encoding: chunked\r\n", Error::BareLf { offset: 57 }),
        ("X: 1\rTransfer-Encoding: chunked\r\n", Error::BareCr { offset: 57 }),
        ("X: 1\r\r\nTransfer-Encoding: chunked\r\n", Error::BareCr { offset: 57 }),
        ("Transfer_Encoding: chunked\r\n", Error::DisguisedFraming { offset: 53 }),
        ("Content_Length: 5\r\n", Error::DisguisedFraming { offset: 53 }),
        ("Transf\u{e9}r-Encoding: chunked\r\n", Error::InvalidFieldName { offset: 53 }),
        ("Transfer Encoding: chunked\r\n", Error::InvalidFieldName { offset: 53 }),
        (": chunked\r\n", Error::InvalidFieldName { offset: 53 }),
        ("Transfer-Encoding chunked\r\n", Error::MissingColon { offset: 53 }),
        ("Connection: Transfer-Encoding\r\n", Error::FramingNominated),
        ("Connection: close, content-length\r\nContent-Length: 5\r\n", Error::FramingNominated),
        ("Host: evil.example\r\n", Error::DuplicateHost),
    ];
    for (lines, error) in in_post {
        assert_eq!(post(lines).unwrap_err(), *error, "{lines:?}");
    }
    let whole: &[(&str, Error)] = &[
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::EmptyStartLine),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::BareLf { offset: 0 }),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", Error::Version),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::ControlCharacter { offset: 3 }),
        ("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET /\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("G:T / HTTP/1.1\r\nHost: a\r\n\r\n", Error::RequestLine),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Error::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Error::Version),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Error::ObsFold { offset: 16 }),
        ("GET / HTTP/1.1\r\nX: 1\r\n\r\n", Error::MissingHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: [\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a]\r\n\r\n", Error::InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", Error::InvalidHost),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Error::Connect),
        ("GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Error::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Error::Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::Target),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Error::Target),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Error::TransferEncodingIn10),
    ];
    for (head, error) in whole {
        assert_eq!(request(head).unwrap_err(), *error, "{head:?}");
    }
    assert!(in_post.len() + whole.len() >= 30);
}

/// Decodes a chunked body piece by piece: content and trailers, or the error.
fn dechunk<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked, limits);
    let (mut content, mut consumed) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            let step = decoder.decode(piece)?;
            content.extend_from_slice(&piece[step.content]);
            consumed += step.consumed;
            piece = &piece[step.consumed..];
        }
    }
    decoder.finish()?;
    Ok((content, decoder.trailers().to_vec(), consumed))
}

#[test]
fn a_chunked_body_ends_where_the_next_message_starts() {
    let body = b"4;n=\"v\"\r\nwiki\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
    let (content, trailers, consumed) = dechunk(std::iter::once(body.as_slice()), &Limits::default()).unwrap();
    assert_eq!((content.as_slice(), trailers.as_slice()), (b"wiki0123456789".as_slice(), b"X-Sum: 1\r\n".as_slice()));
    assert_eq!(&body[consumed..], b"GET /");
}

#[test]
fn refuses_chunk_framing_that_readers_take_differently() {
    let limits = Limits { chunk_extensions: 8, trailers: 24, body: 100, ..Limits::default() };
    let cases: &[(&str, Error)] = &[
        ("+4\r\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        ("-4\r\n", Error::ChunkSize),
        ("0x4\r\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        (" 4\r\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        ("4 \r\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        ("4 ;a\r\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        ("\r\n", Error::ChunkSize),
        (";a\r\n", Error::ChunkSize),
        ("00000000000000004\r\nwiki\r\n", Error::ChunkSize),
        ("4\nwiki\r\n0\r\n\r\n", Error::ChunkSize),
        ("4\r\rwiki", Error::ChunkEnd),
        ("4\r\nwiki\n0\r\n\r\n", Error::ChunkEnd),
        ("4\r\nwikipedia\r\n0\r\n\r\n", Error::ChunkEnd),
        ("4\r\nwiki0\r\n\r\n", Error::ChunkEnd),
        ("4;a\nwiki\r\n0\r\n\r\n", Error::ChunkEnd),
        ("4;a\0\r\nwiki", Error::ChunkEnd),
        ("4;aaaaaaaaaaaa\r\nwiki", Error::ChunkExtensionsTooLarge { limit: 8 }),
        ("1;aaa\r\nw\r\n1;aaaaa\r\n", Error::ChunkExtensionsTooLarge { limit: 8 }),
        ("0\r\nX: 1\n\r\n", Error::BareLf { offset: 4 }),
        ("0\r\n\n", Error::BareLf { offset: 0 }),
        ("0\r\nX: 1\rY\r\n\r\n", Error::BareCr { offset: 5 }),
        ("0\r\nX : 1\r\n\r\n", Error::WhitespaceBeforeColon { offset: 0 }),
        ("0\r\n X: 1\r\n\r\n", Error::ObsFold { offset: 0 }),
        ("0\r\nX: \x01\r\n\r\n", Error::ControlCharacter { offset: 3 }),
        ("0\r\nX\r\n\r\n", Error::MissingColon { offset: 0 }),
        ("0\r\nContent-Length: 5\r\n\r\n", Error::ForbiddenTrailer),
        ("0\r\nX: 45678901234567890123456\r\n\r\n", Error::TrailersTooLarge { limit: 24 }),
        ("65\r\n", Error::Truncated),
        ("4\r\nwi", Error::Truncated),
        ("0\r\n", Error::Truncated),
    ];
    for (body, error) in cases {
        let result = dechunk(std::iter::once(body.as_bytes()), &limits);
        assert_eq!(result.unwrap_err(), *error, "{body:?}");
        assert_eq!(dechunk(body.as_bytes().chunks(1), &limits).unwrap_err(), *error, "byte by byte: {body:?}");
    }
    let large = format!("65\r\n{}", "a".repeat(0x65));
    assert_eq!(dechunk(std::iter::once(large.as_bytes()), &limits).unwrap_err(), Error::BodyTooLarge { limit: 100 });
}

#[test]
fn a_body_of_known_length_is_followed_to_its_end() {
    let limits = Limits { body: 10, ..Limits::default() };
    let mut decoder = BodyDecoder::new(BodyFraming::Length(5), &limits);
    assert_eq!(decoder.decode(b"abc").unwrap(), Decoded { consumed: 3, content: 0..3, done: false });
    assert_eq!(decoder.finish().unwrap_err(), Error::Truncated);
    assert_eq!(decoder.decode(b"deGET").unwrap(), Decoded { consumed: 2, content: 0..2, done: true });
    assert!(decoder.is_done());
    let mut large = BodyDecoder::new(BodyFraming::Length(11), &limits);
    assert_eq!(large.decode(b"").unwrap_err(), Error::BodyTooLarge { limit: 10 });
    assert!(BodyDecoder::new(BodyFraming::None, &limits).is_done());
    let mut endless = BodyDecoder::new(BodyFraming::UntilClose, &limits);
    assert_eq!(endless.decode(b"abc").unwrap(), Decoded { consumed: 3, content: 0..3, done: false });
    endless.finish().unwrap();
    assert!(endless.is_done());
}

fn field_line() -> impl Strategy<Value = String> {
    ("x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", "[ \t]{0,2}", "([!-~\u{80}-\u{ff}]([ -~\t]{0,16}[!-~])?)?", "[ \t]{0,2}")
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n"))
}

prop_compose! {
    fn valid_head()(method in "[A-BD-Z]{1,7}", path in "/[!-\"$-~]{0,20}", lines in prop::collection::vec(field_line(), 0..6),
                    length in prop::option::of(any::<u64>())) -> String {
        let length = length.map(|n| format!("content-length: {n}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\n{}Host: h.example\r\n{length}\r\n", lines.concat())
    }
}

proptest! {
    #[test]
    fn valid_heads_round_trip_however_they_arrive(head in valid_head(), rest in prop::collection::vec(any::<u8>(), 0..8)) {
        let limits = Limits::default();
        for cut in 0..head.len() {
            prop_assert!(RequestHead::parse(&head.as_bytes()[..cut], &limits).unwrap().is_none(), "cut at {}", cut);
        }
        let with_rest = [head.as_bytes(), &rest].concat();
        let (parsed, len) = RequestHead::parse(&with_rest, &limits).unwrap().unwrap();
        prop_assert_eq!(len, head.len());
        prop_assert_eq!(parsed.render(), head.as_bytes());
    }

    #[test]
    fn a_chunked_body_decodes_the_same_at_every_cut(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..20), "(;[a-z]{1,4}(=[a-z0-9]{1,4})?)?"), 0..5),
        trailers in prop::collection::vec("x-[a-z]{1,5}: [a-z0-9]{0,5}\r\n", 0..3),
        rest in "[ -~]{0,6}",
    ) {
        let mut wire = Vec::new();
        for (data, extension) in &chunks {
            wire.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
            wire.extend_from_slice(data);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(format!("0\r\n{}\r\n", trailers.concat()).as_bytes());
        let end = wire.len();
        wire.extend_from_slice(rest.as_bytes());
        let content: Vec<u8> = chunks.iter().flat_map(|(data, _)| data.clone()).collect();
        let expected = (content, trailers.concat().into_bytes(), end);
        for cut in 0..=wire.len() {
            let (a, b) = wire.split_at(cut);
            prop_assert_eq!(dechunk([a, b].into_iter(), &Limits::default()).unwrap(), expected.clone(), "cut at {}", cut);
        }
        let again = encode_single_chunk(&expected.0, &expected.1);
        let decoded = dechunk(std::iter::once(again.as_slice()), &Limits::default()).unwrap();
        prop_assert_eq!((decoded.0, decoded.1), (expected.0, expected.1));
    }

    #[test]
    fn no_bytes_upset_the_parsers(data in prop::collection::vec(any::<u8>(), 0..200), ascii in "[ -~\r\n\t]{0,200}") {
        for bytes in [data.as_slice(), ascii.as_bytes()] {
            fuzz_request_head(bytes);
            fuzz_response_head(bytes);
            fuzz_body(bytes);
        }
    }

    #[test]
    fn near_valid_messages_do_not_upset_the_parsers(head in valid_head(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = head.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fuzz_request_head(&bytes);
        bytes.splice(..bytes.iter().position(|&b| b == b'\r').unwrap_or(0), *b"HTTP/1.1 200 OK");
        fuzz_response_head(&bytes);
    }

    #[test]
    fn near_valid_chunks_do_not_upset_the_decoder(body in "([1-9a-f]{1,2}(;[a-z]{0,3})?\r\n[a-z]{0,12}\r\n){0,4}0\r\n(x: [a-z]\r\n){0,2}\r\n") {
        fuzz_body(body.as_bytes());
    }
}
