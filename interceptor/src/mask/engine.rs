//! The compiled rule set, made once and shared by all threads.

use std::sync::{Arc, OnceLock};

use super::hyperscan::Database;
use super::phone::Plan;
use super::resolve::overlap;
use super::rules::examples::{Expander, marked};
use super::rules::mistake::{Fault, Mistake, Mistakes, Origin};
use super::rules::set::RuleSet;
use super::rules::{Address, Allow, Need, Rule, Source};
use super::shapes::{Drawn, Shapes};
use super::stream::Growth;
use super::vocabulary::{Listed, Vocabulary};
use super::{Error, Scanner};
use crate::flow::RuleMeta;

/// Bytes of a compiled database.
const DATABASE_BYTES: usize = 64 << 20;

/// Longest token that a picture's anchor may have.
pub(super) const LONGEST_ANCHOR: usize = 40;

/// Compiled rules. Cheap to share; a [`Scanner`] for each thread does the work.
pub struct Engine {
    rules: Vec<Arc<Rule>>,
    /// How many of the rules, the first ones, come with the program.
    builtin: usize,
    /// Values that no rule reports.
    allow: Vec<Allow>,
    /// The patterns that may match anywhere.
    anywhere: Database,
    /// Those whose values hold a long run.
    runs: Option<Database>,
    /// What each pattern stands for: those of `anywhere`, then those of `runs`.
    patterns: Vec<Pattern>,
    /// How many of them are of `anywhere`.
    runs_from: usize,
    /// All of them in one, made when a benchmark asks for it.
    whole: OnceLock<Result<Database, Error>>,
    shapes: Shapes,
    phones: Vec<(u32, Plan)>,
    addresses: Vec<(u32, Address)>,
    /// The words of all rules, and of each.
    vocabulary: Vocabulary,
    listed: Vec<Listed>,
    /// Made for the first stream.
    growth: OnceLock<Result<Growth, Error>>,
}

/// What a pattern of the database stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    pub(super) rule: u32,
    /// Bytes of a dictionary's literal; 0 for the pattern of a rule, which knows that itself.
    pub(super) width: u32,
    /// It is only looked for around a run that may be random, and its value holds one.
    pub(super) has_run: bool,
}

/// Where compiled databases are kept between runs, by a digest of all that went into them.
pub trait DatabaseCache {
    /// The database for `key`, as it was put there.
    fn get(&mut self, key: &[u8; 32]) -> Option<Vec<u8>>;
    /// Keeps a database.
    fn put(&mut self, key: &[u8; 32], database: &[u8]);
    /// What was kept for `key` is no database that this library takes; `reason` is what it says.
    fn reject(&mut self, key: &[u8; 32], reason: &str);
}

/// A rule of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'e> {
    /// Its names.
    pub meta: &'e Arc<RuleMeta>,
    /// Where it is written.
    pub origin: &'e Origin,
    /// Whether it comes with the program.
    pub builtin: bool,
    /// Whether it is to be loaded although it slows the set down.
    pub allow_slow: bool,
}

impl Loaded<'_> {
    /// That the rule is at fault.
    #[must_use]
    pub fn mistake(&self, fault: Fault) -> Mistake {
        let Origin { file, at } = self.origin.clone();
        Mistake { file, at: Some(at), rule: Some(self.meta.id.clone()), fault }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("rules", &self.rules.len())
            .field("anywhere", &self.anywhere)
            .field("runs", &self.runs)
            .finish()
    }
}

impl Engine {
    /// The rules that come with the program, compiled at the first call (about a second) and shared after that.
    ///
    /// # Errors
    /// When the linked Hyperscan fails its self-test or cannot compile the rules.
    pub fn builtin() -> Result<Arc<Self>, Error> {
        static BUILTIN: OnceLock<Result<Arc<Engine>, Error>> = OnceLock::new();
        BUILTIN
            .get_or_init(|| {
                let set = RuleSet::builtin()?;
                set.verdict()?;
                Self::new(set.rules, set.builtin, set.allow, None).map(Arc::new)
            })
            .clone()
    }

    /// Compiles `set`, or finds it in `cache`; and checks the examples of the rules that do not come with the program.
    ///
    /// # Errors
    /// [`Error::Rules`] with all mistakes of the set; those of Hyperscan.
    pub fn compile(set: RuleSet, cache: Option<&mut dyn DatabaseCache>) -> Result<Arc<Self>, Error> {
        set.verdict()?;
        let engine = Arc::new(Self::new(set.rules, set.builtin, set.allow, cache)?);
        engine.check_examples()?;
        Ok(engine)
    }

    /// An engine of those of this one's rules that `keep` names.
    ///
    /// # Errors
    /// Those of Hyperscan.
    pub fn only(
        &self,
        mut keep: impl FnMut(Loaded<'_>) -> bool,
        cache: Option<&mut dyn DatabaseCache>,
    ) -> Result<Arc<Self>, Error> {
        let kept: Vec<_> =
            self.loaded().zip(&self.rules).filter(|(loaded, _)| keep(*loaded)).map(|(l, r)| (l.builtin, r)).collect();
        let builtin = kept.iter().filter(|(builtin, _)| *builtin).count();
        let rules = kept.into_iter().map(|(_, rule)| Arc::clone(rule)).collect();
        Self::new(rules, builtin, self.allow.clone(), cache).map(Arc::new)
    }

    fn new(
        rules: Vec<Arc<Rule>>,
        builtin: usize,
        allow: Vec<Allow>,
        cache: Option<&mut dyn DatabaseCache>,
    ) -> Result<Self, Error> {
        let (mut anywhere, mut runs) = (Vec::new(), Vec::new());
        let mut pictures = Vec::new();
        let mut phones = Vec::new();
        let mut addresses = Vec::new();
        for (index, rule) in (0u32..).zip(&rules) {
            match &rule.source {
                Source::Pattern { pattern, .. } => {
                    // What a user writes may be found by its words alone: `PROJECT-[a-z]{20}`.
                    let has_run = rule.has_run() && (index as usize) < builtin;
                    let of = if has_run { &mut runs } else { &mut anywhere };
                    of.push((Pattern { rule: index, width: 0, has_run }, pattern.as_str()));
                }
                Source::Dictionary(dictionary) => {
                    for (expression, width) in &dictionary.expressions {
                        anywhere.push((Pattern { rule: index, width: *width, has_run: false }, expression.as_str()));
                    }
                }
                Source::Pictures { pictures: drawn, extend, .. } => {
                    pictures.extend((0u32..).zip(drawn).map(|(number, picture)| Drawn {
                        rule: index,
                        number,
                        picture,
                        extends: if extend.is_some() { rule.reach } else { 0 },
                        unaided: rule.need == Need::Nothing,
                    }));
                }
                Source::Phone(plan) => phones.push((index, *plan)),
                Source::Address(kind) => addresses.push((index, *kind)),
            }
        }
        let mut cache = cache;
        let mut compile = |patterns: &[(Pattern, &str)]| {
            let expressions: Vec<_> = patterns.iter().map(|(_, expression)| *expression).collect();
            match &mut cache {
                None => Database::compile(expressions),
                Some(cache) => Database::compile_cached(&expressions, *cache),
            }
        };
        let of_runs = if runs.is_empty() { None } else { Some(compile(&runs)?) };
        let of_anywhere = compile(&anywhere)?;
        let bytes = of_anywhere.bytes() + of_runs.as_ref().map_or(0, Database::bytes);
        if bytes > DATABASE_BYTES {
            return Err(Mistake::of_set(Fault::Database { bytes, limit: DATABASE_BYTES }).into());
        }
        let runs_from = anywhere.len();
        let patterns = anywhere.into_iter().chain(runs).map(|(pattern, _)| pattern).collect();
        let shapes = Shapes::new(&pictures);
        let words = rules.iter().map(|rule| rule.words.as_ref());
        let (vocabulary, listed) = Vocabulary::new(words).map_err(Error::Hyperscan)?;
        Ok(Self {
            rules,
            builtin,
            allow,
            anywhere: of_anywhere,
            runs: of_runs,
            patterns,
            runs_from,
            whole: OnceLock::new(),
            shapes,
            phones,
            addresses,
            vocabulary,
            listed,
            growth: OnceLock::new(),
        })
    }

    /// Every example of the rules that do not come with the program is found, and no counter-example is.
    fn check_examples(self: &Arc<Self>) -> Result<(), Error> {
        let mut scanner = self.scanner()?;
        let mut mistakes = Vec::new();
        for rule in &self.rules[self.builtin..] {
            let mut expander = Expander::new();
            let examples = rule.examples.iter().map(|example| (example, true));
            for (example, is_found) in examples.chain(rule.counter.iter().map(|example| (example, false))) {
                if let Some(fault) = faulty(&mut scanner, rule, &expander.expand(&example.text), is_found) {
                    mistakes.push(Mistake { at: Some(example.at), ..rule.mistake(fault) });
                }
            }
        }
        Mistakes::none(mistakes)
    }

    /// The loaded rules, in the order of their files.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Arc<RuleMeta>> {
        self.rules.iter().map(|rule| &rule.meta)
    }

    /// Those rules, and where each comes from.
    pub fn loaded(&self) -> impl ExactSizeIterator<Item = Loaded<'_>> {
        let builtin = self.builtin;
        self.rules.iter().enumerate().map(move |(index, rule)| Loaded {
            meta: &rule.meta,
            origin: &rule.origin,
            builtin: index < builtin,
            allow_slow: rule.allow_slow,
        })
    }

    /// What Hyperscan looks for: the expressions of rules and dictionaries. The other rules' values are found by code.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| rule.source.expressions())
    }

    /// A scanner for one thread.
    ///
    /// # Errors
    /// When Hyperscan cannot allocate its scratch memory.
    pub fn scanner(self: &Arc<Self>) -> Result<Scanner, Error> {
        Scanner::new(Arc::clone(self))
    }

    pub(super) fn rule(&self, index: u32) -> &Rule {
        &self.rules[index as usize]
    }

    /// The patterns that may match anywhere.
    pub(super) fn anywhere(&self) -> &Database {
        &self.anywhere
    }

    /// The patterns whose values hold a long run, and the index of the first of them.
    pub(super) fn runs(&self) -> Option<(&Database, usize)> {
        self.runs.as_ref().map(|database| (database, self.runs_from))
    }

    /// All patterns in one database.
    pub(super) fn whole(&self) -> Result<&Database, Error> {
        self.whole.get_or_init(|| Database::compile(self.expressions())).as_ref().map_err(Clone::clone)
    }

    /// The words of all rules.
    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The words around a value of a rule.
    pub(super) fn words(&self, index: u32) -> (&Vocabulary, &Listed) {
        (&self.vocabulary, &self.listed[index as usize])
    }

    /// What can still become a value.
    pub(super) fn growth(&self) -> Result<&Growth, Error> {
        self.growth.get_or_init(|| Growth::new(&self.rules)).as_ref().map_err(Clone::clone)
    }

    pub(super) fn pattern(&self, index: u32) -> Pattern {
        self.patterns[index as usize]
    }

    /// Whether `value` is never reported, whatever rule finds it.
    pub(super) fn allows(&self, value: &[u8]) -> bool {
        self.allow.iter().any(|allow| allow.has(value))
    }

    /// The pictures, by the tokens around which they may fit.
    pub(super) fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    pub(super) fn phones(&self) -> &[(u32, Plan)] {
        &self.phones
    }

    pub(super) fn addresses(&self) -> &[(u32, Address)] {
        &self.addresses
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[Arc<Rule>] {
        &self.rules
    }
}

/// What is wrong with an example, its alphabets drawn.
fn faulty(scanner: &mut Scanner, rule: &Rule, example: &str, is_found: bool) -> Option<Fault> {
    let (text, spans) = if is_found { marked(example) } else { (example.to_owned(), Vec::new()) };
    let mut found = Vec::new();
    if let Err(error) = scanner.scan(&text, &mut found) {
        return Some(Fault::Unscannable { text, reason: error.to_string() });
    }
    let id = &rule.meta.id;
    if !is_found {
        let finding = found.iter().find(|finding| finding.rule.id == *id)?;
        let value = text[finding.span.clone()].to_owned();
        return Some(Fault::Counter { text, value });
    }
    let [span] = &spans[..] else {
        return Some(Fault::Example { got: format!("marks {} values, not one", spans.len()), text });
    };
    if found.iter().any(|finding| finding.span == *span && finding.rule.entity == rule.meta.entity) {
        return None;
    }
    let near = found.iter().find(|finding| overlap(&finding.span, span));
    let got = match near {
        None => "is not found".to_owned(),
        Some(finding) if finding.rule.id == *id => format!("is found as {:?}", &text[finding.span.clone()]),
        Some(finding) => format!("is found by rule {} as {:?}", finding.rule.id, &text[finding.span.clone()]),
    };
    Some(Fault::Example { text, got })
}
