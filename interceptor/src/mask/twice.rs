//! Masking what is masked changes nothing: a conversation comes again with each of its turns.

use proptest::prelude::*;

use super::tests::{example, mask_plain, piece};

/// What is far from its word, or near it once a value between them is a token.
fn apart() -> impl Strategy<Value = String> {
    let introduces = vec![
        "ssn",
        "account number",
        "IMEI:",
        "Kennzeichen",
        "my passport is",
        "phone",
        "routing number",
        "NHS number",
        "PLZ",
        "Personalausweis",
        "driver's license",
        "tax id",
        "cvv",
        "card",
        "kubernetes secret",
        "password",
        "token =",
        "aws secret key",
        "-u",
        "bearer",
        "postcode",
        "VIN",
        "ip address",
        "date of birth",
    ];
    let needs_words = vec![
        "536904398",
        "130692544",
        "490154203237518",
        "B-AB 123",
        "943 476 5919",
        "C01X00T47",
        "021000021",
        "10115",
        "D1234567",
        "12345678901",
        "123",
        "AB12 3CD",
        "555 0132",
        "0301234567",
        "1M8GDM9AXKP042788",
        "12/03/1980",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "k7Q2m9xZ!p4v",
        "9c1b7e04d2f85a36b1c0ffee9c1b7e04",
    ];
    let long = vec![
        "postgres://application:k7Q2m9xh-Zr4-w8Tn5@db.internal.corp.example:5432/main?sslmode=require",
        "jane.elizabeth.doe-winterbottom@department-of-commerce.corp.example",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        // A host of documentation and the word `secret`: the address is masked, the rest is none.
        "postgresql://user:secret@[2001:db8::1234]/database",
        "DE89 3704 0044 0532 0130 00",
        "4111111111111111",
        "a@b.io",
        "10.2.3.4",
    ];
    let select = |of: Vec<&'static str>| prop::sample::select(of).prop_map(str::to_owned);
    prop_oneof![select(introduces), select(needs_words), select(long), "[a-z]{1,7}( [a-z]{1,7}){0,8}"]
}

fn is_masked_once(text: &str) -> Result<(), TestCaseError> {
    let once = mask_plain(text);
    prop_assert_eq!(mask_plain(&once), once, "{}", text);
    Ok(())
}

// Between values there is a blank: a URI goes on over commas, and a telephone number over an opening parenthesis.
proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_is_masking_once(pieces in prop::collection::vec(piece(), 0..24), between in "[ \n,;()]") {
        // Values glued to each other cannot be told apart until one has become a token: a blank or the like between.
        is_masked_once(&pieces.join(&between))?;
    }

    #[test]
    fn a_token_brings_no_words_nearer(pieces in prop::collection::vec(apart(), 0..16), between in " |\n|, |: |; |\\) ") {
        is_masked_once(&pieces.join(&between))?;
    }

    #[test]
    fn examples_beside_each_other_are_masked_once(
        pieces in prop::collection::vec(prop_oneof![3 => example(), 1 => apart(), 1 => piece()], 1..8),
        between in " |\n|, |; |\n\n",
    ) {
        is_masked_once(&pieces.join(&between))?;
    }
}

/// Of two readings that share bytes one wins, and nothing stays open of the other.
#[test]
fn values_that_run_into_each_other_are_masked_whole() {
    for (text, open) in [
        ("phone: 020 7946 0958 021000021", &["7946", "0958", "0210"][..]),
        ("phone: 020 7946 0958 2019-07-08 14:30", &["7946", "0958"]),
        ("phone list: 104 37 020 7946 0958 end", &["7946", "0958"]),
        ("2001:db8::/32 203.0.113.7 phone: 020 7946 0958", &["2001", "203", "7946"]),
        ("tel 202 5550143 00:1B:44:11:3A:B7", &["555", "3A"]),
        ("phone +49 30 1234 10.2.3.4", &["1234"]),
        ("SSN 123-45-6789:: foo", &["123", "45", "6789"]),
        ("phone: 415-555-0132:22:active", &["415", "0132"]),
        ("Tel: (01) 42.68.53.12", &["42", "12"]),
    ] {
        let masked = mask_plain(text);
        // Without its tokens.
        let plain: String = masked.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect();
        assert!(open.iter().all(|digits| !plain.contains(digits)), "{text}: {masked}");
        assert_eq!(mask_plain(&masked), masked, "{text}");
    }
    // A key wins over the mailbox that it seems to be the name of, and the host is none.
    let url = "https://ghp_abcdefghijABCDEFGHIJ0123456789abcdef@git.corp.internal/org/repo.git";
    assert!(mask_plain(url).ends_with("]@git.corp.internal/org/repo.git"), "{}", mask_plain(url));
}
