use proptest::prelude::*;

use super::*;

/// A message, written by hand as RFC 1035 has it.
struct Packet(Vec<u8>);

const POINTER_TO_QUESTION: &[u8] = &[0xc0, 12];

impl Packet {
    fn answer(name: &str, answers: u16) -> Self {
        let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1];
        bytes.extend(answers.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(labels(name));
        bytes.extend([0, 1, 0, 1]);
        Self(bytes)
    }

    fn record(mut self, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.0.extend(owner);
        self.0.extend(kind.to_be_bytes());
        self.0.extend([0, 1]);
        self.0.extend(ttl.to_be_bytes());
        self.0.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        self.0.extend(data);
        self
    }

    fn with(mut self, at: usize, byte: u8) -> Self {
        self.0[at] = byte;
        self
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name
        .split('.')
        .flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes()))
        .collect();
    bytes.push(0);
    bytes
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn reads_addresses_of_both_families() {
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
    let packet = Packet::answer("API.openai.com", 2).record(POINTER_TO_QUESTION, 1, 60, &[203, 0, 113, 10]).record(
        &labels("api.OPENAI.com"),
        28,
        30,
        &v6,
    );
    let expected = Answer {
        names: vec!["api.openai.com".into()],
        addresses: vec![(ip("203.0.113.10"), seconds(60)), (ip("2001:db8::10"), seconds(30))],
        truncated: false,
    };
    assert_eq!(parse(&packet.0), Ok(expected));
}

#[test]
fn follows_aliases_in_any_order_and_keeps_the_shortest_time() {
    let packet = Packet::answer("acme.openai.azure.com", 4)
        .record(&labels("edge.example"), 1, 300, &[203, 0, 113, 10])
        .record(&labels("unrelated.example"), 1, 300, &[203, 0, 113, 99])
        .record(&labels("lb.example"), 5, 20, &labels("edge.example"))
        .record(POINTER_TO_QUESTION, 5, 600, &labels("lb.example"));
    let answer = parse(&packet.0).unwrap();
    assert_eq!(answer.names, ["acme.openai.azure.com", "lb.example", "edge.example"]);
    assert_eq!(answer.addresses, [(ip("203.0.113.10"), seconds(20))]);
}

#[test]
fn hints_of_a_service_binding_are_addresses_too() {
    // SvcPriority 1, TargetName ".", ipv4hint (4) of one address, ipv6hint (6) of one.
    let mut data = vec![0, 1, 0, 0, 4, 0, 4, 203, 0, 113, 11, 0, 6, 0, 16];
    data.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]);
    let packet = Packet::answer("api.openai.com", 1).record(POINTER_TO_QUESTION, 65, 60, &data);
    let addresses = parse(&packet.0).unwrap().addresses;
    assert_eq!(addresses, [(ip("203.0.113.11"), seconds(60)), (ip("2001:db8::11"), seconds(60))]);
}

#[test]
fn a_chain_in_a_loop_is_refused() {
    let packet = Packet::answer("a.example", 3)
        .record(POINTER_TO_QUESTION, 5, 60, &labels("b.example"))
        .record(&labels("b.example"), 5, 60, &labels("a.example"))
        .record(&labels("a.example"), 1, 60, &[203, 0, 113, 10]);
    assert_eq!(parse(&packet.0), Err(Error::Chain));
}

#[test]
fn a_pointer_to_itself_is_malformed() {
    let packet = Packet::answer("a.example", 1);
    let at = u8::try_from(packet.0.len()).unwrap();
    let packet = packet.record(&[0xc0, at], 1, 60, &[203, 0, 113, 10]);
    assert_eq!(parse(&packet.0), Err(Error::Malformed));
}

#[test]
fn a_truncated_answer_is_known_as_such_and_keeps_what_is_whole() {
    let packet =
        Packet::answer("api.openai.com", 1).record(POINTER_TO_QUESTION, 1, 60, &[203, 0, 113, 10]).with(2, 0x83);
    let answer = parse(&packet.0).unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.addresses.len(), 1);
    let cut = Packet::answer("api.openai.com", 3).with(2, 0x83);
    assert_eq!(parse(&cut.0).map(|answer| (answer.truncated, answer.addresses)), Ok((true, Vec::new())));
    let whole = Packet::answer("api.openai.com", 3);
    assert_eq!(parse(&whole.0), Err(Error::Malformed));
}

#[test]
fn what_is_no_answer_to_one_question_is_refused() {
    let packet = || Packet::answer("api.openai.com", 0);
    assert_eq!(parse(&packet().with(2, 0x01).0), Err(Error::NotAnAnswer), "a query");
    assert_eq!(parse(&packet().with(2, 0xa8).0), Err(Error::NotAnAnswer), "an update");
    assert_eq!(parse(&packet().with(5, 2).0), Err(Error::NotAnAnswer), "two questions");
    assert_eq!(parse(&packet().with(5, 0).0), Err(Error::NotAnAnswer), "no question");
    let class = packet().0.len() - 1;
    assert_eq!(parse(&packet().with(class, 3).0), Err(Error::NotAnAnswer), "class CH");
    assert_eq!(parse(&[]), Err(Error::Malformed));
}

#[test]
fn a_negative_answer_has_no_addresses() {
    let packet =
        Packet::answer("api.openai.com", 1).record(POINTER_TO_QUESTION, 1, 60, &[203, 0, 113, 10]).with(3, 0x83);
    assert!(parse(&packet.0).unwrap().addresses.is_empty());
}

#[test]
fn a_label_with_a_dot_in_it_is_not_two_labels() {
    let mut packet = Packet::answer("acme.openai.azure.com", 1);
    // Joins "acme" and "openai" into one label of eleven bytes.
    packet.0[12] = 11;
    packet.0[17] = b'.';
    let packet = packet.record(POINTER_TO_QUESTION, 1, 60, &[203, 0, 113, 10]);
    let answer = parse(&packet.0).unwrap();
    assert_eq!((answer.names, answer.addresses.len()), (Vec::new(), 1));
}

proptest! {
    #[test]
    fn no_bytes_upset_it(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz_dns(&bytes);
    }

    /// Bytes that look like an answer get further in.
    #[test]
    fn no_damaged_answer_upsets_it(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Packet::answer("acme.openai.azure.com", 4)
            .record(POINTER_TO_QUESTION, 5, 600, &labels("lb.example"))
            .record(&labels("lb.example"), 1, 300, &[203, 0, 113, 10])
            .record(POINTER_TO_QUESTION, 65, 60, &[0, 1, 0, 0, 4, 0, 4, 203, 0, 113, 11])
            .record(&labels("lb.example"), 28, 30, &[0; 16])
            .0;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        fuzz_dns(&bytes);
    }
}
