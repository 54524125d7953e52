//! The two crates one would take first, given the expressions that Hyperscan has.
//!
//! Neither does what Hyperscan does: a `RegexSet` says which expressions match a text and not where, and the literals
//! of Aho-Corasick only say where an expression might match.

use std::cmp::Reverse;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use interceptor::mask::Engine;
use regex::bytes::{RegexSet, RegexSetBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{Extractor, Literal};
use regex_syntax::hir::{Hir, HirKind};

/// Memory that the compiled set may take.
const MEMORY: usize = 1 << 30;

/// A literal that is shorter says too little.
const SHORTEST: usize = 3;

/// Of a class, such as `[AT]`, that is taken for as many literals.
const CLASS: usize = 4;

/// All expressions as one set. `regex` takes every one of them: rules are also compiled with it, for streams.
pub(crate) struct Set(RegexSet);

impl Set {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut builder = RegexSetBuilder::new(engine.expressions());
        // As Hyperscan reads them: bytes. More memory for the states of its automaton would not make it faster.
        builder.unicode(false).size_limit(MEMORY);
        Self(builder.build().expect("`regex` takes what Hyperscan takes"))
    }

    /// How many expressions match somewhere.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.matches(text.as_bytes()).iter().count()
    }
}

/// Literals of which every match of an expression has one: what a search for candidates could begin with. Case is
/// ignored. Expressions without any of three bytes are left out, and counted on standard error.
pub(crate) struct Literals(AhoCorasick);

impl Literals {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut literals = Vec::new();
        let (mut expressions, mut without) = (0, 0);
        for expression in engine.expressions() {
            expressions += 1;
            match required(expression) {
                Some(required) => literals.extend(required),
                None => without += 1,
            }
        }
        literals.iter_mut().for_each(|literal| literal.make_ascii_lowercase());
        literals.sort();
        literals.dedup();
        eprintln!("{expressions} expressions; aho_corasick: {} literals, none for {without}", literals.len());
        let mut builder = AhoCorasick::builder();
        // The fastest of its automata.
        builder.ascii_case_insensitive(true).kind(Some(AhoCorasickKind::DFA));
        Self(builder.build(&literals).expect("the literals fit"))
    }

    /// How many literals there are.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.find_overlapping_iter(text).count()
    }
}

/// The literals with which some part of `expression` begins: of all parts, those whose shortest is longest.
fn required(expression: &str) -> Option<Vec<Vec<u8>>> {
    // One spelling of each is enough where case is ignored.
    let expression = expression.replace("(?i)", "").replace("(?i:", "(?:");
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(&expression).expect("an expression");
    let parts = match parsed.kind() {
        HirKind::Concat(parts) => (0..parts.len()).map(|from| Hir::concat(parts[from..].to_vec())).collect(),
        _ => vec![parsed],
    };
    let mut extractor = Extractor::new();
    extractor.limit_class(CLASS);
    let beginnings = parts.iter().filter_map(|part| {
        let literals = extractor.extract(part).literals()?.to_vec();
        let shortest = literals.iter().map(Literal::len).min()?;
        (shortest >= SHORTEST).then_some((shortest, literals))
    });
    // Of those that are as long, the fewest.
    let (_, literals) = beginnings.max_by_key(|(shortest, literals)| (*shortest, Reverse(literals.len())))?;
    Some(literals.into_iter().map(|literal| literal.as_bytes().to_vec()).collect())
}
