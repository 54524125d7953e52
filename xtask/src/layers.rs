//! `cargo xtask layers`: which room of `interceptor/src` may use which.
//!
//! The pure middle (`wire`, `mask`, `policy`) knows nothing but `flow`; only `proxy` knows the order of the stages; no
//! stage knows the configuration or the command line. Nothing can log the keys of TLS sessions. Sources are taken apart into Rust's tokens, so that comments and
//! strings do not count and macros do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

use crate::workspace;

/// What one room may use of the others.
struct Rule {
    room: &'static str,
    /// Whole rooms.
    rooms: &'static [&'static str],
    /// Single items of further rooms: the proof values that `upstream` demands before it sends, and where it dials from.
    items: &'static [(&'static str, &'static str)],
}

const STAGES: &[&str] =
    &["audit", "capture", "flow", "http", "identity", "mask", "policy", "sys", "tls", "upstream", "wire"];

const RULES: &[Rule] = &[
    Rule { room: "flow", rooms: &[], items: &[] },
    Rule { room: "sys", rooms: &["flow"], items: &[] },
    Rule { room: "capture", rooms: &["flow", "sys"], items: &[] },
    Rule { room: "identity", rooms: &["flow", "capture"], items: &[] },
    Rule { room: "tls", rooms: &["flow", "sys"], items: &[] },
    Rule { room: "http", rooms: &["flow"], items: &[] },
    Rule { room: "wire", rooms: &["flow"], items: &[] },
    Rule { room: "mask", rooms: &["flow"], items: &[] },
    Rule { room: "policy", rooms: &["flow"], items: &[] },
    Rule { room: "audit", rooms: &["flow"], items: &[("sys", "yield_to_others")] },
    Rule {
        room: "upstream",
        rooms: &["flow", "sys", "tls", "http"],
        items: &[("mask", "Masked"), ("policy", "Allowed"), ("audit", "Committed"), ("capture", "Netns")],
    },
    Rule { room: "proxy", rooms: STAGES, items: &[] },
    Rule {
        room: "config",
        rooms: STAGES,
        items: &[("sinks", "Settings"), ("sinks", "WitnessSettings"), ("watch", "AlertRule"), ("watch", "Settings")],
    },
    Rule { room: "siem", rooms: &["audit", "flow"], items: &[] },
    Rule { room: "sinks", rooms: &["audit", "flow", "siem", "sys", "tls"], items: &[] },
    Rule {
        room: "daemon",
        rooms: &["audit", "capture", "flow", "mask", "proxy", "sys", "upstream"],
        items: &[("sinks", "SinkStatus"), ("sinks", "WitnessStatus")],
    },
    Rule {
        room: "watch",
        rooms: &["audit", "flow", "siem", "sinks"],
        items: &[
            ("daemon", "Asks"),
            ("daemon", "Concern"),
            ("daemon", "State"),
            ("daemon", "Status"),
            ("policy", "Matcher"),
            ("sys", "yield_to_others"),
        ],
    },
    Rule {
        room: "cli",
        rooms: &[
            "audit", "capture", "config", "daemon", "flow", "http", "identity", "mask", "policy", "proxy", "siem",
            "sinks", "sys", "tls", "upstream", "watch", "wire",
        ],
        items: &[],
    },
];

/// What would let TLS keys be logged: no build of the product has it, not even behind a flag.
const KEY_LOGGING: [&str; 3] = ["KeyLog", "KeyLogFile", "key_log"];

/// A use of one room in another.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    line: usize,
    room: String,
    /// The first name below the room, if the path has one.
    item: Option<String>,
}

/// Checks every source file.
pub(crate) fn run() -> Result<()> {
    let source = workspace::root().join("interceptor/src");
    let mut wrong = Vec::new();
    let mut files = 0;
    for room in rooms(&source)? {
        let rule = RULES.iter().find(|rule| rule.room == room.0);
        let Some(rule) = rule else {
            bail!("{} is a room that `cargo xtask layers` has no rule for; add one to xtask/src/layers.rs", room.0)
        };
        for file in sources(&room.1)? {
            files += 1;
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let shown = file.strip_prefix(workspace::root()).unwrap_or(&file);
            let found =
                edges(&text, depth(&file, &source)).with_context(|| format!("cannot parse {}", shown.display()))?;
            wrong.extend(key_logging(&text)?.into_iter().map(|(line, name)| {
                format!("{}:{line}: `{name}`: session keys of TLS are never logged", shown.display())
            }));
            wrong.extend(found.into_iter().filter(|edge| !allowed(rule, edge)).map(|edge| {
                let item = edge.item.map(|item| format!("::{item}")).unwrap_or_default();
                format!("{}:{}: `{}` may not use `{}{item}`", shown.display(), edge.line, rule.room, edge.room)
            }));
        }
    }
    if wrong.is_empty() {
        eprintln!("layers: {files} files keep to the allowed edges, and none can log TLS keys");
        return Ok(());
    }
    bail!("not allowed:\n{}", wrong.join("\n"))
}

fn allowed(rule: &Rule, edge: &Edge) -> bool {
    edge.room == rule.room
        || rule.rooms.contains(&edge.room.as_str())
        || rule.items.iter().any(|(room, item)| edge.room == *room && edge.item.as_deref() == Some(item))
}

/// The rooms: directories, and files other than the crate's two roots.
fn rooms(source: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut rooms = Vec::new();
    for entry in fs::read_dir(source).with_context(|| format!("cannot list {}", source.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.is_dir() || (name != "lib" && name != "main") {
            rooms.push((name, path));
        }
    }
    rooms.sort();
    Ok(rooms)
}

fn sources(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(if path.extension().is_some_and(|kind| kind == "rs") { vec![path.to_owned()] } else { Vec::new() });
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
        found.extend(sources(&entry?.path())?);
    }
    found.sort();
    Ok(found)
}

/// How many `super` lead from a file's module to the crate's root.
fn depth(file: &Path, source: &Path) -> usize {
    let below = file.strip_prefix(source).unwrap_or(file).components().count();
    if file.file_name().is_some_and(|name| name == "mod.rs") { below - 1 } else { below }
}

/// The uses of rooms in a file whose module lies `depth` below the crate's root.
fn edges(text: &str, depth: usize) -> Result<Vec<Edge>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut found = Vec::new();
    walk(&tokens.into_iter().collect::<Vec<_>>(), depth, &mut found);
    Ok(found)
}

/// Where a file names what logs TLS keys.
fn key_logging(text: &str) -> Result<Vec<(usize, String)>> {
    fn walk(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => walk(group.stream(), found),
                TokenTree::Ident(name) if KEY_LOGGING.iter().any(|banned| name == banned) => {
                    found.push((name.span().start().line, name.to_string()));
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(text.parse().map_err(|error| anyhow::anyhow!("{error}"))?, &mut found);
    Ok(found)
}

fn walk(tokens: &[TokenTree], depth: usize, found: &mut Vec<Edge>) {
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index] {
            TokenTree::Group(group) => walk(&group.stream().into_iter().collect::<Vec<_>>(), depth, found),
            TokenTree::Ident(ident) => {
                if let Some(after) = crate_root(ident, &tokens[index + 1..], depth) {
                    targets(&tokens[index + 1 + after..], found);
                }
            }
            _ => {}
        }
        index += 1;
    }
}

/// How many tokens after `ident` the path has left the crate's root behind: `crate::`, or `super::` often enough.
fn crate_root(ident: &Ident, after: &[TokenTree], depth: usize) -> Option<usize> {
    if *ident == "crate" {
        return is_path_separator(after).then_some(2);
    }
    let mut climbed = usize::from(*ident == "super");
    let mut index = 0;
    while climbed > 0 && is_path_separator(&after[index..]) {
        index += 2;
        // In a module inside the file, one more is needed than `depth` says; names of rooms are told apart below.
        if climbed >= depth && !matches!(after.get(index), Some(TokenTree::Ident(next)) if *next == "super") {
            return Some(index);
        }
        index += 1;
        climbed += 1;
        if !matches!(after.get(index - 1), Some(TokenTree::Ident(next)) if *next == "super") {
            return None;
        }
    }
    None
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(tokens.first()) && colon(tokens.get(1))
}

/// The rooms named right after the crate's root: one, or several in braces.
fn targets(tokens: &[TokenTree], found: &mut Vec<Edge>) {
    match tokens.first() {
        Some(TokenTree::Ident(room)) if is_room(room) => {
            let line = room.span().start().line;
            let below = if is_path_separator(&tokens[1..]) { names(&tokens[3..]) } else { Vec::new() };
            let edge = |item| Edge { line, room: room.to_string(), item };
            if below.is_empty() {
                found.push(edge(None));
            }
            found.extend(below.into_iter().map(|item| edge(Some(item))));
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            for part in parts(&group.stream().into_iter().collect::<Vec<_>>()) {
                targets(part, found);
            }
        }
        _ => {}
    }
}

/// The first names of what a path goes on with: one, or several in braces.
fn names(tokens: &[TokenTree]) -> Vec<String> {
    match tokens.first() {
        Some(TokenTree::Ident(name)) => vec![name.to_string()],
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            parts(&inner).into_iter().flat_map(names).collect()
        }
        Some(TokenTree::Punct(_)) => vec!["*".to_owned()],
        _ => Vec::new(),
    }
}

fn parts(tokens: &[TokenTree]) -> Vec<&[TokenTree]> {
    tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')).collect()
}

fn is_room(name: &Ident) -> bool {
    RULES.iter().any(|rule| name == rule.room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, depth: usize) -> Vec<String> {
        let show = |edge: Edge| format!("{}::{}", edge.room, edge.item.unwrap_or_default());
        edges(text, depth).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn sees_every_way_to_name_another_room() {
        let text = "use crate::{flow::Span, mask::{Masked, self}, policy};\n\
                    fn a(x: crate::tls::Hello) { println!(\"{}\", crate::audit::VERSION); }\n\
                    use super::super::wire;";
        let expected =
            ["flow::Span", "mask::Masked", "mask::self", "policy::", "tls::Hello", "audit::VERSION", "wire::"];
        assert_eq!(found(text, 2), expected);
    }

    #[test]
    fn sees_none_in_comments_strings_and_relatives() {
        let text = "//! like crate::mask::Masked\nconst A: &str = \"crate::audit::Log\";\n\
                    use super::audit; use self::mask::x; use std::mask::y; mod tests { use super::*; }";
        assert_eq!(found(text, 2), [""; 0]);
    }

    #[test]
    fn sees_whatever_could_log_keys_but_not_talk_of_it() {
        let text =
            "// key_log\nlet a = \"KeyLogFile\";\nfn f() { config.key_log = Arc::new(rustls::KeyLogFile::new()); }";
        let found = key_logging(text).unwrap();
        assert_eq!(found, [(3, "key_log".to_owned()), (3, "KeyLogFile".to_owned())]);
    }

    #[test]
    fn upstream_may_use_the_proof_and_nothing_else_of_its_room() {
        let upstream = RULES.iter().find(|rule| rule.room == "upstream").unwrap();
        let edge = |item: &str| Edge { line: 1, room: "mask".to_owned(), item: Some(item.to_owned()) };
        assert!(allowed(upstream, &edge("Masked")));
        assert!(!allowed(upstream, &edge("Engine")));
        assert!(!allowed(upstream, &Edge { line: 1, room: "mask".to_owned(), item: None }));
    }
}
