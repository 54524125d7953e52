//! The rules that are loaded together: the built-in ones, files, dictionaries; and the caps on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::allow::Allow;
use super::dictionary::{self, DictionaryHead};
use super::mistake::{Fault, Mistake, Mistakes, Origin};
use super::{BUILTIN, Rule, Source, file};
use crate::mask::hyperscan::{self, Database};
use crate::mask::{Error, SAMPLE};

/// Bytes of a rule file and of a dictionary.
const FILE_BYTES: usize = 4 << 20;
const DICTIONARY_BYTES: usize = 32 << 20;
/// Rules of files, and literals of dictionaries with their forms.
const RULES: usize = 2000;
const LITERALS: usize = 200_000;
/// Bytes of ordinary text for each match of a pattern: more would make every request cost too much.
const BYTES_PER_MATCH: usize = 64;

/// Rules that are to be compiled together.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(in crate::mask) rules: Vec<Arc<Rule>>,
    /// How many of the rules, the first ones, come with the program.
    pub(in crate::mask) builtin: usize,
    /// Values that no rule reports.
    pub(in crate::mask) allow: Vec<Allow>,
    taken: HashMap<String, Origin>,
    mistakes: Vec<Mistake>,
    progress: Progress,
}

impl RuleSet {
    /// The rules that come with the program.
    ///
    /// # Errors
    /// When the linked Hyperscan fails its self-test or cannot parse the rules.
    pub fn builtin() -> Result<Self, Error> {
        hyperscan::self_test()?;
        let mut set = Self::default();
        for (name, text) in BUILTIN {
            let read = file::read(name, text, &mut set.mistakes, |_, _| {});
            read.rules.into_iter().for_each(|rule| set.add(rule));
        }
        set.builtin = set.rules.len();
        Ok(set)
    }

    /// Tells `progress` what is being compiled.
    pub fn watch(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// Adds the rules of a file, `name` for short. Its mistakes are told when the set is compiled.
    pub fn add_file(&mut self, name: &str, bytes: &[u8]) {
        let Some(text) = self.text(name, bytes, FILE_BYTES) else { return };
        let progress = self.progress.clone();
        let file::File { rules, allow } =
            file::read(name, text, &mut self.mistakes, |origin, id| progress.begin(origin, id));
        self.allow.extend(allow);
        for rule in rules {
            progress.begin(&rule.origin, Some(&rule.meta.id));
            self.check(&rule);
            self.add(rule);
        }
        progress.begin_set();
    }

    /// Adds the literals of a dictionary; what `head` says wins over its header.
    pub fn add_dictionary(&mut self, name: &str, bytes: &[u8], head: &DictionaryHead) {
        let Some(text) = self.text(name, bytes, DICTIONARY_BYTES) else { return };
        if let Some(rule) = dictionary::read(name, text, head, &mut self.mistakes) {
            self.add(rule);
        }
    }

    /// Takes out the built-in rules of these names.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], after which the set is as before.
    pub fn disable(&mut self, ids: &[String]) -> Result<(), Error> {
        let known = |id: &&String| self.rules[..self.builtin].iter().any(|rule| rule.meta.id == **id);
        if let Some(unknown) = ids.iter().find(|id| !known(id)) {
            return Err(Error::UnknownRule(unknown.clone()));
        }
        let own = self.rules.split_off(self.builtin);
        self.rules.retain(|rule| !ids.contains(&rule.meta.id));
        self.builtin = self.rules.len();
        self.rules.extend(own);
        Ok(())
    }

    /// What is wrong so far, caps included.
    pub(in crate::mask) fn verdict(&self) -> Result<(), Error> {
        let mut mistakes = self.mistakes.clone();
        let mut too_many = |what, count, limit, remedy| {
            if count > limit {
                mistakes.push(Mistake::of_set(Fault::TooMany { what, count, limit, remedy }));
            }
        };
        too_many("rules of files", self.rules.len() - self.builtin, RULES, "leave some out");
        let literals =
            |rule: &Arc<Rule>| if let Source::Dictionary(d) = &rule.source { d.expressions.len() } else { 0 };
        let remedy = "leave some out, or match their case (`case = \"match\"`), which takes one form of each";
        too_many("literals", self.rules.iter().map(literals).sum(), LITERALS, remedy);
        Mistakes::none(mistakes)
    }

    fn text<'b>(&mut self, name: &str, bytes: &'b [u8], limit: usize) -> Option<&'b str> {
        let fault = match std::str::from_utf8(bytes) {
            _ if bytes.len() > limit => (None, Fault::TooLarge { bytes: bytes.len(), limit }),
            Ok(text) => return Some(text),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                (Some(super::mistake::Position::of(&valid, valid.len())), Fault::NotUtf8)
            }
        };
        self.mistakes.push(Mistake { file: name.to_owned(), at: fault.0, rule: None, fault: fault.1 });
        None
    }

    fn add(&mut self, rule: Rule) {
        let Some(first) = self.taken.get(&rule.meta.id) else {
            self.taken.insert(rule.meta.id.clone(), rule.origin.clone());
            self.rules.push(Arc::new(rule));
            return;
        };
        let fault = Fault::Duplicate(first.clone());
        self.mistakes.push(rule.mistake(fault));
    }

    /// What can only be told of a pattern by compiling and running it.
    fn check(&mut self, rule: &Rule) {
        let Source::Pattern { pattern, .. } = &rule.source else { return };
        let mut matches = 0;
        let mut run = || {
            let database = Database::compile([pattern.as_str()])?;
            database.scan(SAMPLE.as_bytes(), &mut database.workspace()?, |_, _| {
                matches += 1;
                true
            })
        };
        let fault = match run() {
            Err(Error::Hyperscan(reason)) => Fault::Hyperscan(reason),
            Err(error) => Fault::Hyperscan(error.to_string()),
            Ok(()) if matches * BYTES_PER_MATCH > SAMPLE.len() => Fault::Everywhere { matches, bytes: SAMPLE.len() },
            Ok(()) => return,
        };
        self.mistakes.push(rule.mistake(fault));
    }
}

/// What is being compiled, for whoever runs out of patience.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Option<Work>>>);

/// A rule under way.
#[derive(Clone, Debug)]
struct Work {
    origin: Origin,
    id: Option<String>,
}

impl Progress {
    pub(super) fn begin(&self, origin: &Origin, id: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Work { origin: origin.clone(), id: id.map(str::to_owned) });
    }

    fn begin_set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The mistake of what took longer than `seconds`.
    #[must_use]
    pub fn late(&self, seconds: u64) -> Mistake {
        let fault = Fault::CompileTime(seconds);
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(Work { origin: Origin { file, at }, id }) => Mistake { file, at: Some(at), rule: id, fault },
            None => Mistake::of_set(fault),
        }
    }
}
