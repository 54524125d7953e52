use super::super::NetnsCookie;
use super::*;

const CONFIG: &str = "
    [[endpoint]]
    provider = 'openai'
    names = ['llm.corp.example', '*.openai.azure.com']
    ports = [443, 8443]
    [[endpoint]]
    provider = 'ollama'
    names = ['ollama.corp.example']
    protocol = 'http'
    ports = [11434]
    addresses = ['127.0.0.1', '192.0.2.0/24']
    when_down = 'open'
";

fn catalogue() -> Catalogue {
    #[derive(serde::Deserialize)]
    struct File {
        endpoint: Vec<Endpoint>,
    }
    Catalogue::new(&toml::from_str::<File>(CONFIG).unwrap().endpoint, None)
}

fn addresses(now: Instant) -> Addresses {
    Addresses::new(catalogue(), [], now)
}

fn found(name: &str, ips: &[&str]) -> Lookup {
    Lookup { name: name.into(), result: Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect()) }
}

fn failed(name: &str) -> Lookup {
    Lookup { name: name.into(), result: Err("no resolver".into()) }
}

fn answer(names: &[&str], ips: &[&str], ttl: u64) -> Answer {
    let addresses = ips.iter().map(|ip| (ip.parse().unwrap(), Duration::from_secs(ttl))).collect();
    Answer { names: names.iter().map(ToString::to_string).collect(), addresses, truncated: false }
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

fn has(addresses: &Addresses, ip: &str, port: u16) -> bool {
    let wanted = EndpointAddr::single(ip.parse().unwrap(), port);
    addresses.current().iter().any(|have| have.ip == wanted.ip && have.prefix == wanted.prefix && have.port == port)
}

#[test]
fn configured_addresses_are_always_there() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    assert!(has(&addresses, "127.0.0.1", 11434));
    assert!(addresses.current().iter().any(|address| address.to_string().contains("192.0.2.0/24 port 11434")));
    assert!(!addresses.learn(&[], now + hours(1000)));
    assert_eq!(addresses.current().len(), 2);
    addresses.fix([EndpointAddr::single([203, 0, 113, 5].into(), 3128)]);
    assert!(has(&addresses, "203.0.113.5", 3128));
    assert_eq!(addresses.take_fresh().len(), 3);
}

#[test]
fn a_looked_up_address_is_enrolled_on_every_port_and_stays_for_a_day() {
    let start = Instant::now();
    let mut addresses = addresses(start);
    assert!(addresses.learn(&[found("llm.corp.example", &["203.0.113.1"])], start));
    assert!(has(&addresses, "203.0.113.1", 443) && has(&addresses, "203.0.113.1", 8443));
    assert!(!addresses.learn(&[found("llm.corp.example", &["203.0.113.1"])], start + hours(1)));
    assert!(addresses.learn(&[found("llm.corp.example", &["203.0.113.2"])], start + hours(20)));
    assert!(has(&addresses, "203.0.113.1", 443));
    assert!(addresses.learn(&[found("llm.corp.example", &["203.0.113.2"])], start + hours(26)));
    assert!(!has(&addresses, "203.0.113.1", 443) && has(&addresses, "203.0.113.2", 443));
}

#[test]
fn nothing_is_forgotten_while_its_name_does_not_resolve() {
    let start = Instant::now();
    let mut addresses = Addresses::new(catalogue(), [EndpointAddr::single([203, 0, 113, 9].into(), 443)], start);
    addresses.learn(&[found("llm.corp.example", &["203.0.113.1"])], start);
    for hour in (0..100).step_by(10) {
        assert!(!addresses.learn(&[failed("llm.corp.example"), failed("ollama.corp.example")], start + hours(hour)));
    }
    assert!(has(&addresses, "203.0.113.1", 443), "looked up before");
    assert!(has(&addresses, "203.0.113.9", 443), "left by an earlier process");
    // The other name resolves: what an earlier process left ages, what the failing name led to does not.
    let lookups = [failed("llm.corp.example"), found("ollama.corp.example", &["203.0.113.2"])];
    for hour in (100..200).step_by(10) {
        addresses.learn(&lookups, start + hours(hour));
    }
    assert!(has(&addresses, "203.0.113.1", 443));
    assert!(!has(&addresses, "203.0.113.9", 443));
}

#[test]
fn an_observed_answer_enrols_at_once_for_its_ttl_and_the_grace() {
    let start = Instant::now();
    let mut addresses = addresses(start);
    assert!(addresses.observe(&answer(&["acme.openai.azure.com"], &["203.0.113.5"], 3600), start));
    assert!(has(&addresses, "203.0.113.5", 443));
    assert!(!addresses.learn(&[], start + hours(24)));
    assert!(addresses.learn(&[], start + hours(25)));
    assert!(!has(&addresses, "203.0.113.5", 443));
}

#[test]
fn a_ttl_of_years_is_a_week() {
    let start = Instant::now();
    let mut addresses = addresses(start);
    addresses.observe(&answer(&["acme.openai.azure.com"], &["203.0.113.5"], u64::from(u32::MAX)), start);
    assert!(!addresses.learn(&[], start + hours(8 * 24 - 1)));
    assert!(addresses.learn(&[], start + hours(8 * 24)));
}

#[test]
fn an_answer_counts_when_any_name_of_the_chain_is_an_endpoint() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    assert!(addresses.observe(&answer(&["ai.corp.example", "acme.openai.azure.com"], &["203.0.113.5"], 60), now));
    assert!(!addresses.observe(&answer(&["www.example", "cdn.example"], &["203.0.113.6"], 60), now));
    assert!(has(&addresses, "203.0.113.5", 443) && !has(&addresses, "203.0.113.6", 443));
    assert_eq!(addresses.dns_counts().matching, 1);
}

#[test]
fn an_answer_cannot_take_local_services_or_no_address_at_all() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    let bad = ["0.0.0.0", "::", "127.0.0.1", "::1", "169.254.1.1", "fe80::1", "224.0.0.1", "255.255.255.255"];
    assert!(!addresses.observe(&answer(&["llm.corp.example"], &bad, 60), now));
    // The hosts file may: own lookups read it.
    assert!(addresses.learn(&[found("llm.corp.example", &["127.0.0.2", "0.0.0.0"])], now));
    assert!(has(&addresses, "127.0.0.2", 443) && !has(&addresses, "0.0.0.0", 443));
}

#[test]
fn packets_of_strangers_are_counted_and_teach_nothing() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    let resolvers = Resolvers::system(&["192.0.2.53".parse().unwrap()], NetnsCookie(1));
    let packet = |resolver: &str, payload: &[u8]| DnsPacket {
        resolver: resolver.parse().unwrap(),
        netns: Some(NetnsCookie(1)),
        payload: payload.to_vec(),
    };
    // An answer for llm.corp.example: 203.0.113.7, for 60 seconds.
    let mut message = vec![0, 1, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend(b"\x03llm\x04corp\x07example\x00\x00\x01\x00\x01");
    message.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x07");
    assert!(!addresses.observe_packet(&packet("198.51.100.1", &message), &resolvers, now));
    assert!(!addresses.observe_packet(&packet("192.0.2.53", b"nonsense"), &resolvers, now));
    assert!(addresses.observe_packet(&packet("192.0.2.53", &message), &resolvers, now));
    assert!(has(&addresses, "203.0.113.7", 8443));
    let expected = DnsCounts { answers: 1, matching: 1, malformed: 1, untrusted: 1, ..DnsCounts::default() };
    assert_eq!(addresses.dns_counts(), expected);
}

#[test]
fn what_is_fresh_is_told_once() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    assert_eq!(addresses.take_fresh().len(), 2, "the configured ones");
    addresses.observe(&answer(&["acme.openai.azure.com"], &["203.0.113.5"], 60), now);
    assert_eq!(addresses.take_fresh().len(), 2, "two ports");
    addresses.observe(&answer(&["acme.openai.azure.com"], &["203.0.113.5"], 60), now);
    assert!(addresses.take_fresh().is_empty());
}

#[test]
fn there_is_room_for_own_lookups_whatever_others_look_up() {
    let now = Instant::now();
    let mut addresses = addresses(now);
    let many: Vec<String> = (0..MAX_OBSERVED).map(|n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    addresses.observe(&answer(&["acme.openai.azure.com"], &many, 60), now);
    assert_eq!(addresses.dns_counts().overflow, MAX_OBSERVED as u64);
    assert!(addresses.learn(&[found("llm.corp.example", &["203.0.113.1"])], now));
    assert!(has(&addresses, "203.0.113.1", 443));
}
