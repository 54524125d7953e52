//! Rule files and dictionaries as operators write them, with and without mistakes.

use std::time::Instant;

use proptest::prelude::*;

use crate::flow::Finding;
use crate::mask::{DictionaryHead, Engine, Error, Progress, RuleSet};

const BADGE: &str = r#"
[[rule]]
id = "corp.badge"
entity = "EMPLOYEE_BADGE"
label = "BADGE"
severity = "medium"
confidence = 0.8
pattern = 'EMP-[0-9]{6}'
examples = ["badge {{EMP-<digits:6>}}"]
counter = ["EMP-12345"]
"#;

fn compile(file: &str) -> Result<std::sync::Arc<Engine>, Error> {
    let mut set = RuleSet::builtin()?;
    set.add_file("my.toml", file.as_bytes());
    Engine::compile(set, None)
}

fn complaint(file: &str) -> String {
    match compile(file) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {file}"),
    }
}

fn scan(engine: &std::sync::Arc<Engine>, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    engine.scanner().unwrap().scan(text, &mut found).unwrap();
    found
}

fn ids(engine: &std::sync::Arc<Engine>, text: &str) -> Vec<String> {
    scan(engine, text).iter().map(|finding| format!("{} {}", finding.rule.id, &text[finding.span.clone()])).collect()
}

/// The mistake of the rule of `BADGE` with `from` replaced by `to`.
fn badge(from: &str, to: &str) -> String {
    assert!(BADGE.contains(from), "{from}");
    BADGE.replace(from, to)
}

#[test]
fn a_users_value_of_letters_alone_is_found() {
    let file = badge("'EMP-[0-9]{6}'", "'PROJECT-[a-z]{20}'")
        .replace("badge {{EMP-<digits:6>}}", "the {{PROJECT-morningdewfallsagain}} plan")
        .replace("EMP-12345", "PROJECT-dew");
    let engine = compile(&file).unwrap();
    assert_eq!(ids(&engine, "about PROJECT-morningdewfallsagain"), ["corp.badge PROJECT-morningdewfallsagain"]);
}

#[test]
fn every_kind_of_mistake_is_told_with_its_line_its_rule_and_a_remedy() {
    let pattern = "pattern = 'EMP-[0-9]{6}'";
    for (file, expected) in [
        ("rule = 3".to_owned(), "my.toml:1:8: each rule is a table that begins with [[rule]]"),
        ("[[rule]\n".to_owned(), "my.toml:1:"),
        ("alow = []".to_owned(), "my.toml:1:1: unknown field `alow`, expected `allow`; docs/rules.md"),
        ("\nallow = [\"fine\", \"*\"]".to_owned(), "my.toml:2:18: allowing \"*\" would allow too much; give"),
        (badge("pattern", "patern"), "my.toml:8:1: rule corp.badge: unknown field `patern`, expected one of"),
        (badge("= 0.8", "= \"high\""), "my.toml:7:14: rule corp.badge: invalid type: string \"high\", expected f32"),
        (badge("label = \"BADGE\"\n", ""), "my.toml:2:1: rule corp.badge: missing field `label`"),
        (badge("\"medium\"", "\"bad\""), "my.toml:6:12: rule corp.badge: unknown variant `bad`, expected one of"),
        (badge("id = \"corp.badge\"", "id = \"Badge 1\""), "my.toml:3:1: rule Badge 1: id \"Badge 1\" must"),
        (badge("EMPLOYEE_BADGE", "badge"), "my.toml:4:1: rule corp.badge: entity \"badge\" must be made of"),
        (badge("\"BADGE\"", "\"x-y\""), "my.toml:5:1: rule corp.badge: label \"x-y\" must be made of"),
        (badge("= 0.8", "= 2"), "my.toml:7:1: rule corp.badge: confidence 2 is not between 0 and 1; "),
        (badge(pattern, ""), "my.toml:3:1: rule corp.badge: give exactly one of"),
        (badge(pattern, "pattern = 'a'\nphone = \"e164\""), "my.toml:3:1: rule corp.badge: give exactly one of"),
        (badge(pattern, "pattern = ''"), "my.toml:8:1: rule corp.badge: `pattern` is empty"),
        (badge(pattern, "pattern = '(x'"), "my.toml:8:1: rule corp.badge: Hyperscan cannot compile `pattern`: "),
        (badge(pattern, "pattern = 'x(?=y)'"), "my.toml:8:1: rule corp.badge: Hyperscan cannot compile"),
        (badge(pattern, "pattern = '(*UTF8)x'"), "my.toml:8:1: rule corp.badge: `pattern` asks for (*UTF8)"),
        (badge(pattern, "pattern = 'x*'"), "my.toml:8:1: rule corp.badge: `pattern` matches the empty text"),
        (
            badge(pattern, "pattern = 'xy+'"),
            "my.toml:8:1: rule corp.badge: `pattern` matches up to any number of bytes",
        ),
        (badge(pattern, "pattern = '[a-z]{3}'"), "my.toml:2:1: rule corp.badge: too wide: it matches"),
        (badge(pattern, "pattern = 'x'\nverify = '('"), "my.toml:9:1: rule corp.badge: `verify` is not a regular"),
        (badge(pattern, "pattern = 'x'\nafter = 'y'\nlocate = \"pem\""), "my.toml:10:1: rule corp.badge: give one of"),
        (
            badge(pattern, "phone = \"e164\"\nverify = 'x'"),
            "my.toml:9:1: rule corp.badge: `verify` has no effect without",
        ),
        (badge(pattern, "pictures = [\"EMP-99\", \"AAA\"]"), "my.toml:8:23: rule corp.badge: picture \"AAA\""),
        (badge(pattern, "pattern = 'x'\nvalidator = \"lun\""), "my.toml:9:13: rule corp.badge: unknown variant `lun`"),
        (badge(pattern, "pattern = 'x'\nneed = \"words\""), "my.toml:9:1: rule corp.badge: `need` asks for words"),
        (
            badge(pattern, "pattern = 'x'\nwords = [\"a\", \"Badge\"]"),
            "my.toml:9:15: rule corp.badge: word \"Badge\" is",
        ),
        (badge(pattern, "pattern = 'x'\nwords = [\" foo\"]"), "my.toml:9:10: rule corp.badge: word \" foo\" is"),
        (badge(pattern, "pattern = 'x'\nallow = [\"**\"]"), "my.toml:9:10: rule corp.badge: allowing \"**\" would"),
        (badge("corp.badge", "card.pan"), "my.toml:2:1: rule card.pan: the id is taken by the rule in payment.toml:"),
        (format!("{BADGE}{BADGE}"), "my.toml:12:1: rule corp.badge: the id is taken by the rule in my.toml:2; choose"),
        (
            badge("badge {{EMP-<digits:6>}}", "EMP-123456"),
            "my.toml:9:13: rule corp.badge: example \"EMP-123456\" marks 0",
        ),
        (
            badge("badge {{EMP-<digits:6>}}", "{{EMP-1}}"),
            "my.toml:9:13: rule corp.badge: example \"EMP-1\" is not found;",
        ),
        (
            badge("EMP-12345", "EMP-123456"),
            "my.toml:10:12: rule corp.badge: counter-example \"EMP-123456\" is found as",
        ),
    ] {
        let told = complaint(&file);
        assert!(told.starts_with(expected), "expected {expected}\n     got {told}\n{file}");
        assert!(told.contains("; ") || expected.contains(":1:"), "a remedy: {told}");
    }
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once() {
    let mut set = RuleSet::builtin().unwrap();
    set.add_file("one.toml", badge("= 0.8", "= 2").as_bytes());
    set.add_file("two.toml", b"# caf\xe9\n");
    set.add_dictionary("names.txt", b"ab\n", &DictionaryHead::default());
    let told = Engine::compile(set, None).unwrap_err().to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(lines[0].starts_with("one.toml:7:1: rule corp.badge: ") && lines[1].starts_with("two.toml:1:6: not UTF-8"));
    assert!(lines[2].starts_with("names.txt:1:1: \"ab\" is too short"), "{told}");
}

#[test]
fn more_than_is_loaded_is_told() {
    let rules: Vec<String> = (0..2001)
        .map(|n| {
            badge("corp.badge", &format!("corp.{n}")).replace("pattern = 'EMP-[0-9]{6}'", "pictures = [\"ZQ-999999\"]")
        })
        .collect();
    assert!(complaint(&rules.concat()).starts_with("the rule set: 2001 rules of files, and at most 2000 are loaded; "));
    let long = badge("EMP-[0-9]{6}", &"a".repeat(5000));
    assert!(complaint(&long).starts_with("my.toml:8:1: rule corp.badge: `pattern` has 5000 bytes, and at most 4096"));
    let huge = format!("# {}", " ".repeat(4 << 20));
    assert!(complaint(&huge).starts_with("my.toml: 4194306 bytes, and at most 4194304 are read; divide it"));
}

#[test]
fn a_rule_of_a_file_finds_and_its_allow_list_does_not() {
    let rule = badge("counter", "allow = [\"EMP-000*\"]\ncounter");
    let engine = compile(&format!("allow = [\"*@corp.example\", \"4111 1111 1111 1111\"]\n{rule}")).unwrap();
    assert_eq!(ids(&engine, "badges EMP-123456 and EMP-000456"), ["corp.badge EMP-123456"]);
    let text = "jane@CORP.example, joe@other.example, 4111 1111 1111 1111, 4012 8888 8888 1881";
    assert_eq!(ids(&engine, text), ["email joe@other.example", "card.pan 4012 8888 8888 1881"]);
}

#[test]
fn disabled_rules_find_nothing_and_unknown_ones_are_told() {
    let mut set = RuleSet::builtin().unwrap();
    set.disable(&["email".to_owned()]).unwrap();
    assert_eq!(set.disable(&["mail".to_owned()]), Err(Error::UnknownRule("mail".to_owned())));
    set.add_file("my.toml", BADGE.as_bytes());
    let engine = Engine::compile(set, None).unwrap();
    assert_eq!(ids(&engine, "jane@corp.example EMP-123456"), ["corp.badge EMP-123456"]);
    assert!(engine.loaded().filter(|rule| !rule.builtin).map(|rule| rule.meta.id.as_str()).eq(["corp.badge"]));
}

fn dictionary(text: &str) -> std::sync::Arc<Engine> {
    let mut set = RuleSet::builtin().unwrap();
    set.add_dictionary("customers.txt", text.as_bytes(), &DictionaryHead::default());
    Engine::compile(set, None).unwrap()
}

#[test]
fn literals_are_found_in_either_case_at_word_edges() {
    let engine = dictionary("#: entity = \"CUSTOMER\"\nAcme Ltd\nM\u{fc}ller & S\u{f6}hne\nC-137 (alpha)\n");
    let text = "ACME ltd, acme ltds; M\u{fc}ller & S\u{f6}hne, M\u{dc}LLER & S\u{d6}HNE; c-137 (Alpha)x";
    let found = ids(&engine, text);
    let expected = ["ACME ltd", "M\u{fc}ller & S\u{f6}hne", "M\u{dc}LLER & S\u{d6}HNE", "c-137 (Alpha)"];
    assert_eq!(found, expected.map(|value| format!("dictionary.customers {value}")));
    let exact = dictionary("#: case = \"match\"\nAcme Ltd\n");
    assert_eq!(ids(&exact, "ACME Ltd, Acme Ltd"), ["dictionary.customers Acme Ltd"]);
}

#[test]
fn tens_of_thousands_of_literals_compile_and_are_found() {
    let names: Vec<String> =
        (0..20_000u64).map(|n| format!("Firm {:x} Holdings", n.wrapping_mul(0x9e37_79b9))).collect();
    let started = Instant::now();
    let engine = dictionary(&names.join("\n"));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    for name in names.iter().step_by(997) {
        assert_eq!(ids(&engine, &format!("to {name}.")), [format!("dictionary.customers {name}")]);
    }
}

#[test]
fn what_takes_too_long_is_named() {
    let progress = Progress::default();
    let mut set = RuleSet::builtin().unwrap();
    set.watch(progress.clone());
    assert!(progress.late(30).to_string().starts_with("the rule set: compiling takes more than 30 s; "));
    super::file::read("my.toml", BADGE, &mut Vec::new(), |origin, id| {
        progress.begin(origin, id);
        let told = progress.late(30).to_string();
        assert!(told.starts_with("my.toml:2:1: rule corp.badge: compiling takes more than 30 s; "), "{told}");
    });
}

proptest! {
    /// Whatever a file holds is rules or mistakes with a place, never a panic.
    #[test]
    fn any_file_is_read_or_refused(lines in prop::collection::vec(prop_oneof![
        Just("[[rule]]".to_owned()), Just("id = \"a.b\"".to_owned()), Just("entity = \"X\"".to_owned()),
        Just("label = \"X\"".to_owned()), Just("severity = \"low\"".to_owned()), Just("confidence = 0.5".to_owned()),
        "pattern = '[a-z(){}*?|0-9-]{0,6}'", "(examples|counter|words|allow|pictures) = \\[\"[^\"\\\\\n]{0,8}\"\\]", "[ -~\u{e9}]{0,12}",
    ], 0..12)) {
        let mut mistakes = Vec::new();
        let text = lines.join("\n");
        super::file::read("any.toml", &text, &mut mistakes, |_, _| {});
        for mistake in mistakes {
            let at = mistake.at.expect("a place");
            prop_assert!(at.line <= text.lines().count().max(1) + 1, "{mistake} in {text:?}");
        }
    }

    /// A literal of a dictionary is found wherever it stands alone.
    #[test]
    fn any_literal_is_found(literal in "[a-zA-Z][a-zA-Z0-9 .+*(){}|^$\\\\#/-]{1,20}[a-zA-Z]", before in "[ ,(]", after in "[ ,)]") {
        let mut mistakes = Vec::new();
        let rule = super::dictionary::read("d.txt", &literal, &DictionaryHead::default(), &mut mistakes).unwrap();
        let super::Source::Dictionary(dictionary) = &rule.source else { panic!("a dictionary") };
        let database = crate::mask::hyperscan::Database::compile([dictionary.expressions[0].0.as_str()]).unwrap();
        let text = format!("{before}{}{after}", literal.to_uppercase());
        let mut ends = Vec::new();
        database.scan(text.as_bytes(), &mut database.workspace().unwrap(), |_, end| { ends.push(end); true }).unwrap();
        prop_assert_eq!(ends, [1 + literal.len()]);
        prop_assert!(super::dictionary::Dictionary::stands_alone(text.as_bytes(), &(1..1 + literal.len())));
    }
}
