//! However a text is cut, the same is found in it; and little of it is held.

use std::cell::RefCell;

use proptest::prelude::*;

use super::{LONE_TAIL, MOST_HELD, Stream};
use crate::flow::Finding;
use crate::mask::rules::examples::{Expander, marked};
use crate::mask::tests::{example, piece};
use crate::mask::{Engine, Error, Scanner};

thread_local! {
    static SCANNER: RefCell<Scanner> = RefCell::new(Engine::builtin().unwrap().scanner().unwrap());
}

fn scan(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    SCANNER.with_borrow_mut(|scanner| scanner.scan_plain(text, &mut found)).unwrap();
    found
}

/// What a stream of `pieces` gives, put together; and after each piece, how much was held.
fn stream<'p>(pieces: impl IntoIterator<Item = &'p str>) -> (String, Vec<Finding>, Vec<usize>) {
    SCANNER.with_borrow_mut(|scanner| {
        let mut stream = Stream::default();
        let (mut text, mut found, mut held) = (String::new(), Vec::new(), Vec::new());
        let mut add = |released: super::Released| {
            assert_eq!(released.at, text.len());
            found.extend(released.findings.into_iter().map(|mut finding| {
                finding.span = finding.span.start + text.len()..finding.span.end + text.len();
                finding
            }));
            text.push_str(&released.text);
        };
        for piece in pieces {
            add(stream.push(scanner, piece).unwrap());
            held.push(stream.held());
        }
        add(stream.finish(scanner).unwrap());
        (text, found, held)
    })
}

/// `text` cut where `cuts` say, in parts of ten thousand of its length.
fn cut<'t>(text: &'t str, cuts: &[usize]) -> Vec<&'t str> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut * text.len() / 10_000)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &text[w[0]..w[1]]).collect()
}

fn characters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()])
}

/// The stream of `pieces` finds what is found in `text`; says what differs.
fn compare(text: &str, expected: &[Finding], pieces: &[&str]) -> Result<(), String> {
    let (out, found, _) = stream(pieces.iter().copied());
    if out != text {
        return Err(format!("{text:?} became {out:?}"));
    }
    let show =
        |found: &[Finding]| found.iter().map(|f| format!("{:?} {} {}", f.span, f.rule.id, f.score)).collect::<Vec<_>>();
    let (expected, found) = (show(expected), show(&found));
    if found == expected { Ok(()) } else { Err(format!("{pieces:?}: expected {expected:?}, got {found:?}")) }
}

fn compare_at_every_cut(text: &str) -> Result<(), String> {
    let expected = scan(text);
    for (at, _) in text.char_indices() {
        compare(text, &expected, &[&text[..at], &text[at..]])?;
    }
    compare(text, &expected, &characters(text).collect::<Vec<_>>())
}

#[test]
fn every_example_is_found_at_every_cut() {
    let engine = Engine::builtin().unwrap();
    let mut wrong = Vec::new();
    for rule in engine.all() {
        let mut expander = Expander::new();
        for example in rule.examples.iter().chain(&rule.counter) {
            let (text, _) = marked(&expander.expand(&example.text));
            let around = format!("In prose: {text} and on it goes, for a while.");
            for text in [text, around] {
                wrong.extend(
                    compare_at_every_cut(&text).err().map(|difference| format!("{}: {difference}", rule.meta.id)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_depends_on_what_follows_is_found_at_every_cut() {
    let key = "MIIEpAIBAAKCAQEAx5Qm3V9".repeat(4);
    let texts = [
        "4111 1111\n1111 1111 and 4111  1111  1111  1111.",
        "x\n\n4111\u{a0}1111\u{a0}1111\u{a0}1111\n\n４１１１１１１１１１１１１１１１",
        "GB82  WEST  1234  5698  7654  32 or GB82\u{a0}WEST\u{a0}1234\u{a0}5698\u{a0}7654\u{a0}32",
        "the number 536904399 is my ssn, 536904399 is no order",
        "536904399 [SSN_k7q2m9xv] x 536904399 [SSN_k7q2m9x ssn",
        "password = [PASSWORD_k7q2m9xm] token: [SECRET_k7q2m9xd]",
        "4111111111111111usd 4111111111111111a 4111111111111111amex",
        "a@b.example@c.example@d.example jane@corp.example.",
        "call 5550132,a 555-0132, (415) 555-0132 +44 20 7946 0958 2024",
        "10.2.3.4/24, 10.2.3.4.5 fe80::1%eth0 2001:db8::1/64: 2001:db8::1.",
        "postgres://app:s3cr3t@db.corp.example/x?token=9c1b7e04d2f85a36b1",
        &format!(
            "-----BEGIN PRIVATE KEY-----\n{key}\n{key}\n-----END PRIVATE KEY----- and -----BEGIN PRIVATE KEY-----\n{key}"
        ),
        &format!("`-----BEGIN PRIVATE KEY-----` begins a key, as you know, {} -----END", "and so on ".repeat(30)),
        "  \"130692544\".\n",
        "130692544 . x",
        "12, 536904399",
        "A1, 536904399.",
        "12\n536904399;",
        "x-1M8GDM9AXKP042788,",
        "pay 4111\x0c1111  1111 1111 now",
        "a \\n536-90-4399 b \\\\n536-90-4399 c",
        "é数Secret-Key: 9c1b7e04d2f85a36b1数é",
    ];
    let wrong: Vec<_> = texts.iter().filter_map(|text| compare_at_every_cut(text).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn short_texts_give_the_same_at_every_cut(pieces in prop::collection::vec(piece(), 0..6)) {
        compare_at_every_cut(&pieces.concat()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn long_texts_give_the_same_at_random_cuts(
        pieces in prop::collection::vec(prop_oneof![piece(), word(), example()], 0..200),
        cuts in prop::collection::vec(0..10_000usize, 0..60),
    ) {
        let text = pieces.concat();
        compare(&text, &scan(&text), &cut(&text, &cuts)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn numbers_in_another_dress_give_the_same_at_every_cut(pieces in prop::collection::vec(prop_oneof![dressed(), piece()], 1..5)) {
        compare_at_every_cut(&pieces.concat()).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_bytes_give_the_same(bytes in prop::collection::vec(any::<u8>(), 0..80), pieces in prop::collection::vec(piece(), 0..9)) {
        super::fuzz_mask_stream(&[&bytes[..], pieces.concat().as_bytes()].concat());
    }

    #[test]
    fn noise_gives_the_same_at_every_cut(text in "[0-9a-fxX:@./ \\-\\[\\]_=\"\n\u{a0}\u{200b}４é]{0,60}") {
        compare_at_every_cut(&text).map_err(TestCaseError::fail)?;
    }
}

/// A number whose groups are joined in all kinds of ways.
fn dressed() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec![
        "4111 1111 1111 1111",
        "3782 822463 10005",
        "536 90 4399",
        "DE 89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "ssn 536904399",
    ]);
    let gaps = vec![
        " ", "-", "\x0b", "\x0c", "  ", "\n", "\r\n", "\t", " - ", "\u{a0}", "\u{2013}", "\u{200b}", "", "\n\n",
        "       ",
    ];
    let gaps = prop::collection::vec(prop::sample::select(gaps), 6);
    (number, gaps, any::<bool>()).prop_map(|(number, gaps, wide)| {
        let joined: Vec<String> = number.split(' ').zip(gaps).map(|(group, gap)| group.to_owned() + gap).collect();
        let full = |c: char| if wide && c.is_ascii_digit() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c };
        joined.concat().chars().map(full).collect()
    })
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z]{1,9}[ ,.]? "
}

/// Ordinary text, also with the words that introduce secrets.
const PROSE: &str = "Tokens are the pieces a model reads: about four characters each, so the limit of 128,000 tokens is \
    some 300 pages. When the service answers with status 429, wait and try again; the header says for how long. Since \
    2021 we keep no passwords at all, and each key is stored with a version (v2.1). See https://docs.example.org/limits \
    for more.\n\n- Is the secret out? Then revoke it, and tell the team on Monday at 10:30.\n- Otherwise: nothing to do. \
    The password is never sent, and a basic understanding of authorization helps. It costs 12.50 or 19,99 a month.\n";

#[test]
#[expect(clippy::print_stdout, reason = "the figure is wanted, not only that it is small")]
fn of_prose_little_more_than_the_last_word_is_held() {
    let text = PROSE.repeat(4);
    let pieces: Vec<&str> = text
        .split_inclusive(' ')
        .flat_map(|word| word.split_at_checked(3).map_or([word, ""], |(a, b)| [a, b]))
        .collect();
    let (_, found, held) = stream(pieces);
    assert!(found.iter().all(|finding| finding.rule.report_only), "{found:?}");
    let mean = held.iter().sum::<usize>() as f64 / held.len() as f64;
    let most = held.iter().max().unwrap();
    println!("held of prose: {mean:.1} bytes in the mean, {most} at most");
    assert!(mean < 12.0 && *most <= 64, "{mean} {most}");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is wanted, not only that it is small")]
fn an_idle_stream_is_small() {
    let mut streams: Vec<Stream> = (0..1000).map(|_| Stream::default()).collect();
    SCANNER.with_borrow_mut(|scanner| {
        for (stream, i) in streams.iter_mut().zip(0..) {
            stream.push(scanner, &PROSE.repeat(1 + i % 20)).unwrap();
            characters(PROSE).for_each(|c| drop(stream.push(scanner, c).unwrap()));
        }
    });
    let bytes: Vec<usize> = streams.iter().map(|stream| size_of_val(stream) + stream.heap()).collect();
    let (mean, most) = (bytes.iter().sum::<usize>() / bytes.len(), bytes.iter().max().unwrap());
    println!("1000 idle streams: {mean} bytes each, {most} at most");
    assert!(*most < 4096, "{most}");
}

#[test]
fn a_number_alone_is_found_though_blanks_follow() {
    for (blanks, count) in [(LONE_TAIL, 1), (LONE_TAIL + 1, 0)] {
        let text = format!("130692544{}", " ".repeat(blanks));
        let pieces: Vec<&str> = characters(&text).collect();
        let (_, found, held) = stream(pieces);
        assert_eq!((found.len(), stream([&*text]).1.len()), (count, count));
        assert!(held.iter().all(|held| *held <= 9 + LONE_TAIL), "{held:?}");
    }
}

#[test]
fn holding_ends_where_a_value_cannot_go_on() {
    for (text, most) in [
        ("-----BEGIN PRIVATE KEY----- is how it starts, they say, and then there is ".repeat(40), 400),
        ("a".repeat(5000), 200),
        ("1".repeat(5000), 200),
        (" ".repeat(5000), 10),
        ("password = ".repeat(100), 128),
        ("12345678 ".repeat(500), 256),
        ("1\n".repeat(2500), 300),
        ("[A".repeat(2500), 128),
    ] {
        let (_, _, held) = stream(characters(&text));
        let held = held.into_iter().max().unwrap();
        assert!(held <= most, "{:?}..: {held} bytes", &text[..20]);
    }
}

#[test]
fn a_long_key_in_small_pieces_is_not_read_again_for_each() {
    let line = "MIIEpAIBAAKCAQEAx5Qm3V9bQhXo7yLw0dTfGzR2uKs8JnEvPcWaYt6lBi1Do4Hq\n";
    let text = format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----", line.repeat(180));
    SCANNER.with_borrow_mut(|scanner| {
        let mut stream = Stream::default();
        for piece in text.as_bytes().chunks(4) {
            let released = stream.push(scanner, std::str::from_utf8(piece).unwrap()).unwrap();
            assert_eq!(released.text, "");
        }
        assert!(stream.scanned < 40 * text.len(), "{} bytes for {}", stream.scanned, text.len());
        let released = stream.finish(scanner).unwrap();
        assert!(matches!(&*released.findings, [found] if found.span == (0..text.len())), "{:?}", released.findings);
    });
}

#[test]
fn a_hostile_stream_costs_no_more_than_its_length_allows() {
    for piece in ["4111 1111 1111 1112 ", "token=", "a@a.aa@", "eyJaaaaaaaa.", "[EMAIL_k7q2m9xh]", "1.1.1.1 "] {
        SCANNER.with_borrow_mut(|scanner| {
            let (mut stream, mut scanned) = (Stream::default(), 0);
            for _ in 0..20_000 {
                match stream.push(scanner, piece) {
                    Ok(_) => assert!(stream.held() <= MOST_HELD),
                    Err(Error::TooManyMatches { .. } | Error::TooMuchWork { .. } | Error::TooMuchHeld(_)) => break,
                    Err(error) => panic!("{error}"),
                }
                scanned = scanned.max(stream.scanned / (stream.start + stream.text.len()));
            }
            assert!(scanned <= 400, "{piece:?}: {scanned}");
        });
    }
}
