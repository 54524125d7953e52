//! The texts that are measured: chat, in pieces of several sizes, as text and as bodies of requests.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

/// Bytes of each kind: no core's own cache holds them.
pub(crate) const TOTAL: usize = 4 << 20;

/// Of the messages in the body of a request.
const MESSAGE: usize = 2 << 10;

/// Chat of one kind.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Bytes that are scanned at once.
    pub(crate) piece: usize,
    /// Bytes from one value to the next.
    every: Option<usize>,
    /// Whether text arrives in such pieces.
    pub(crate) is_stream: bool,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind { name: "clean-100K", piece: 100 << 10, every: None, is_stream: false },
    Kind { name: "clean-10K", piece: 10 << 10, every: None, is_stream: false },
    Kind { name: "clean-1448", piece: 1448, every: None, is_stream: true },
    Kind { name: "clean-256", piece: 256, every: None, is_stream: true },
    Kind { name: "dirty-10K", piece: 10 << 10, every: Some(200), is_stream: false },
];

impl Kind {
    pub(crate) fn text(&self) -> String {
        chat(TOTAL, self.every)
    }

    /// Writes the beginning of the text for programs that are no Rust: `directory/name.json`, a list of pieces.
    pub(crate) fn write(&self, directory: &Path) {
        let text = self.text();
        let list = json!(pieces(&text[..text.floor_char_boundary(TOTAL / 4)], self.piece));
        std::fs::write(directory.join(self.name).with_extension("json"), list.to_string()).expect("a text is written");
    }
}

/// The body of a Chat Completions request that says `text`: messages of both sides, by turns.
pub(crate) fn request(text: &str) -> Bytes {
    let roles = ["user", "assistant"].into_iter().cycle();
    let messages: Vec<Value> = pieces(text, MESSAGE)
        .into_iter()
        .zip(roles)
        .map(|(content, role)| json!({"role": role, "content": content}))
        .collect();
    json!({"model": "gpt-4o", "messages": messages, "stream": true}).to_string().into()
}

/// `text` cut between characters, into pieces of `size` bytes; the last has what is left.
pub(crate) fn pieces(text: &str, size: usize) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(size));
        out.push(piece);
        rest = tail;
    }
    out.push(rest);
    out
}

/// Chat as people and programs write it: prose, numbers, lists, code. With `every`, a value of some kind about every so
/// many bytes.
pub(crate) fn chat(len: usize, every: Option<usize>) -> String {
    const SENTENCES: &[&str] = &[
        "Could you explain why the second query is so much slower than the first one? ",
        "In 2021 we moved 14 services to the new cluster, and since then the nightly job takes 35 minutes. ",
        "I think that the token budget of 4096 is too small for this conversation; please summarise it. ",
        "Here is the function:\n\n```python\ndef mean(values: list[float]) -> float:\n    total = 0.0\n    for value in values:\n        total += value\n    return total / len(values)\n```\n\n",
        "The password dialog appears twice: once at 09:15 and again when the session times out. ",
        "1. Check that the disk has space.\n2. Restart the service.\n3. Look at the log.\n\n",
        "Das Modell antwortet auf Deutsch, wenn die Frage auf Deutsch gestellt wird – das ist erwünscht. ",
        "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}\n",
        "My daughter is reading a book about volcanoes, and she wants to know how hot lava is. ",
        "let items = input.iter().filter(|item| item.is_ready()).collect::<Vec<_>>();\n",
        "She paid $1,299.00 for it, which is 15% less than last year. ",
        "error[E0308]: mismatched types\n --> src/main.rs:42:17\n  |\n42 |     let x: u32 = \"five\";\n",
    ];
    const VALUES: &[&str] = &[
        "jane.doe@corp.example",
        "4111 1111 1111 1111",
        "AKIAIOSFODNN7EXAMPLE",
        "+44 20 7946 0958",
        "536-90-4399",
        "203.0.113.77",
        "postgres://app:s3cr3t@db.corp.example:5432/main",
        "DE89 3704 0044 0532 0130 00",
    ];
    let mut text = String::with_capacity(len + 256);
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut last = 0;
    while text.len() < len {
        text.push_str(SENTENCES[next(SENTENCES.len())]);
        if every.is_some_and(|every| text.len() - last >= every) {
            text.push_str(VALUES[next(VALUES.len())]);
            text.push_str(". ");
            last = text.len();
        }
    }
    text
}
