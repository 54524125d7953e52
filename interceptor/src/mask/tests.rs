//! The rules' own examples, and properties of scanning and rewriting.

use std::ops::Range;

use super::Engine;

/// Expands `<b62:36>` and the like, deterministically.
struct Expander(u64);

impl Expander {
    fn expand(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, tail)) = rest.split_once('<') {
            out.push_str(before);
            match tail.split_once('>').and_then(|(name, tail)| Some((self.piece(name, &out)?, tail))) {
                Some((piece, tail)) => {
                    out.push_str(&piece);
                    rest = tail;
                }
                None => {
                    out.push('<');
                    rest = tail;
                }
            }
        }
        out + rest
    }

    fn piece(&mut self, name: &str, before: &str) -> Option<String> {
        const B62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        if name == "crc" {
            let data = &before.as_bytes()[before.len() - 30..];
            let digits = super::validate::github_check(data);
            return Some(String::from_utf8(digits.to_vec()).unwrap());
        }
        let (alphabet, count) = name.split_once(':')?;
        let alphabet = match alphabet {
            "b62" => B62,
            "alpha" => &B62[10..],
            "upper" => &B62[..36],
            "lower" => "abcdefghijklmnopqrstuvwxyz0123456789",
            "hex" => "0123456789abcdef",
            "digits" => "1234567890",
            "bech" => "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
            _ => return None,
        };
        let count: usize = count.parse().ok()?;
        Some((0..count).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect())
    }

    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// An example's text, and the spans marked by `{{` and `}}`.
fn marked(example: &str) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    for (i, part) in example.split("{{").enumerate() {
        let Some((value, after)) = part.split_once("}}").filter(|_| i > 0) else {
            text.push_str(if i > 0 { "{{" } else { "" });
            text.push_str(part);
            continue;
        };
        spans.push(text.len()..text.len() + value.len());
        text.push_str(value);
        text.push_str(after);
    }
    (text, spans)
}

#[test]
fn every_rule_finds_its_examples_exactly_and_leaves_its_counter_examples() {
    let engine = Engine::builtin().unwrap();
    let mut scanner = engine.scanner().unwrap();
    let mut wrong = Vec::new();
    for rule in engine.all() {
        let id = &rule.meta.id;
        if rule.examples.is_empty() || rule.counter.is_empty() {
            wrong.push(format!("{id}: needs examples and counter-examples"));
        }
        let mut expander = Expander(1);
        for example in &rule.examples {
            let (text, spans) = marked(&expander.expand(example));
            let mut found = Vec::new();
            scanner.scan(&text, &mut found).unwrap();
            let hit = found.iter().any(|f| spans.contains(&f.span) && f.rule.entity == rule.meta.entity);
            if spans.len() != 1 || !hit {
                let got: Vec<_> = found.iter().map(|f| (&text[f.span.clone()], &f.rule.id)).collect();
                wrong.push(format!("{id}: {text:?}: expected {spans:?}, got {got:?}"));
            }
        }
        for example in &rule.counter {
            let text = expander.expand(example);
            let mut found = Vec::new();
            scanner.scan(&text, &mut found).unwrap();
            if let Some(f) = found.iter().find(|f| f.rule.id == *id) {
                wrong.push(format!("{id}: {text:?} must not match, got {:?}", &text[f.span.clone()]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rule_ids_are_unique_and_there_are_enough() {
    let engine = Engine::builtin().unwrap();
    let mut ids: Vec<_> = engine.rules().map(|rule| rule.id.clone()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert!(all >= 60, "{all} rules");
}
