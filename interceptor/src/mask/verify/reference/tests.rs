//! A scan finds what the simple one does: in all rules' examples and what is nearly one.

use std::cell::RefCell;

use proptest::prelude::*;

use super::fuzz::{Both, compare};
use super::made::{PART, examples, text};
use crate::mask::tests::found_in;
use crate::mask::{Engine, RuleSet};

/// Pictures unlike those that come along: letters that may be digits, places that repeat.
const ODD: &str = r#"
[[rule]]
id = "odd"
entity = "ODD"
label = "ODD"
severity = "high"
confidence = 0.5
pictures = ["XX9-9", "xx", "XXXX-xx", "9{1,3}.9{1,3}", "A-x{2,4}A", "9/9a{1,2}", "aaa9{1,5}", "X-X-X", "99 99", "9Z9"]
separators = "-:"
examples = ["{{12}}"]
counter = ["1"]

[[rule]]
id = "key"
entity = "KEY"
label = "KEY"
severity = "low"
confidence = 0.5
pattern = 'k[0-9]{2}'
examples = ["{{k12}}"]
counter = ["k"]
"#;

thread_local! {
    static OF_ODD: RefCell<Both> = RefCell::new({
        let mut set = RuleSet::default();
        set.add_file("odd.toml", ODD.as_bytes());
        Both::new(Engine::compile(set, None).unwrap()).unwrap()
    });
}

#[test]
fn breaks_written_as_two_characters_divide_numbers_from_what_is_before() {
    for (text, value) in [
        (r"ssn\n536-90-4399", "536-90-4399"),
        (r"a\t310312Y9494", "310312Y9494"),
        (r"call\n+44 20 7946 0958", "+44 20 7946 0958"),
        (r"call\r\n(415) 555-0132", "(415) 555-0132"),
        (r"host\n203.0.113.7", "203.0.113.7"),
        (r"host\n2001:db8::1", "2001:db8::1"),
        ("ssn\\n５３６-９０-４３９９", "５３６-９０-４３９９"),
        (r"n411111 1111111111", "411111 1111111111"),
    ] {
        let found: Vec<_> = found_in(text).into_iter().map(|finding| &text[finding.span]).collect();
        assert_eq!(found, [value], "{text}");
        compare(text);
    }
}

#[test]
fn addresses_of_network_cards_are_found_whatever_kind_is_first() {
    for text in ["mac aabb.ccdd.eeff, 00:11:22:33:44:55", "mac 00:11:22:33:44:55, aabb.ccdd.eeff"] {
        assert_eq!(found_in(text).len(), 2, "{text}");
        compare(text);
    }
}

#[test]
fn examples_have_the_findings_of_the_simplest_scan_however_they_are_changed() {
    for (number, change) in (0..examples()).zip((0..=u8::MAX).cycle()) {
        let [high, low] = [number >> 8, number].map(|n| n as u8);
        let part = |what, change| [what, high, low, change];
        compare(&text(&part(2 + change % 2, change.wrapping_mul(37))));
        let next = change.wrapping_add(1);
        compare(&text(&[part(1, change), part(4, next), part(5, change), part(54, next)].concat()));
    }
}

/// Bytes that say what a text is made of.
fn recipe() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<[u8; PART]>(), 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_nearly_a_value_has_the_findings_of_the_simplest_scan(recipe in recipe()) {
        compare(&text(&recipe));
    }

    #[test]
    fn digits_and_separators_have_the_findings_of_the_simplest_scan(
        text in "([0-9]{1,5}|[a-zA-Z]{1,3}|[ .:/()+_\\\\n\u{a0}-]{1,3}){0,24}",
    ) {
        compare(&text);
    }

    #[test]
    fn pictures_of_all_kinds_are_found_as_in_the_simplest_scan(text in "([0-3A-Cx-z]{1,4}|[Zk]|[ .:/\\\\n-]{1,2}){0,16}") {
        OF_ODD.with_borrow_mut(|both| both.compare(&text));
    }
}
