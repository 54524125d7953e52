//! From files to a compiled set of rules, in bounded time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::super::{Failure, Global};
use super::cache::RuleCache;
use super::cost;
use crate::config::{Config, Rules, StatePaths};
use crate::mask::{self, DatabaseCache, Engine, Mistakes, Progress, RuleSet};

/// What compiling may take. A successor has a minute for all that it does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of subcommands that look for values.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Rules")]
pub(in crate::cli) struct RuleArgs {
    /// Rule file to use besides the built-in rules and those of the configuration that --config names
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// File of literals to look for, one a line
    #[arg(long, value_name = "FILE")]
    dictionary: Vec<PathBuf>,
    /// Built-in rule to leave out
    #[arg(long, value_name = "ID")]
    disable_rule: Vec<String>,
}

impl RuleArgs {
    /// What the flags and a configuration that was named say.
    pub(in crate::cli) fn rules(&self, global: &Global) -> Result<Rules, Failure> {
        let mut rules = configured(global, &self.rules, &self.dictionary)?;
        rules.disable.extend(self.disable_rule.iter().cloned());
        Ok(rules)
    }

    /// The compiled set of them. A rule that slows the set down is not refused: nothing but this run waits for it.
    pub(in crate::cli) fn engine(&self, global: &Global) -> Result<Arc<Engine>, Failure> {
        Ok(compile(&self.rules(global)?, None)?)
    }
}

/// What a configuration that was named says, and these files besides.
pub(super) fn configured(global: &Global, files: &[PathBuf], dictionaries: &[PathBuf]) -> Result<Rules, Failure> {
    let mut rules = match &global.config {
        Some(file) => Config::load(Some(file))?.rules,
        None => Rules::default(),
    };
    rules.files.extend(files.iter().cloned());
    rules.dictionaries.extend(dictionaries.iter().cloned().map(Into::into));
    Ok(rules)
}

/// Why there is no set of rules.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum LoadError {
    #[error("cannot read {path}: {source}; check that it exists and that this user may read it", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("rules.disable: {0}")]
    Disable(mask::Error),
    #[error(transparent)]
    Mask(#[from] mask::Error),
    #[error("cannot compile the rules: {0}")]
    Thread(io::Error),
    #[error("compiling the rules ended without a result; this is a mistake in the program")]
    Lost,
}

/// The rules that the daemon is to use: none that slows the set down more than `rules` allow.
pub(in crate::cli) fn for_daemon(rules: &Rules, paths: Option<&StatePaths>) -> Result<Arc<Engine>, LoadError> {
    let cache = paths.map(RuleCache::new);
    let engine = compile(rules, cache.clone())?;
    Mistakes::none(cost::refused(&engine, rules.max_cost, cache)?)?;
    Ok(engine)
}

/// Reads and compiles. What takes too long is left to a thread that ends with the process.
pub(super) fn compile(rules: &Rules, cache: Option<RuleCache>) -> Result<Arc<Engine>, LoadError> {
    if rules.are_builtin() && cache.is_none() {
        return Ok(Engine::builtin()?);
    }
    let progress = Progress::default();
    let (done, result) = channel();
    let (rules, watched) = (rules.clone(), progress.clone());
    thread::Builder::new()
        .name("rules".to_owned())
        // Nobody may be waiting any more.
        .spawn(move || drop(done.send(read(&rules, watched).and_then(|set| build(set, cache)))))
        .map_err(LoadError::Thread)?;
    match result.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => Err(LoadError::Lost),
        Err(RecvTimeoutError::Timeout) => Err(mask::Error::from(progress.late(PATIENCE.as_secs())).into()),
    }
}

fn build(set: RuleSet, mut cache: Option<RuleCache>) -> Result<Arc<Engine>, LoadError> {
    Ok(Engine::compile(set, cache.as_mut().map(|cache| cache as &mut dyn DatabaseCache))?)
}

fn read(rules: &Rules, progress: Progress) -> Result<RuleSet, LoadError> {
    let mut set = RuleSet::builtin()?;
    set.watch(progress);
    set.disable(&rules.disable).map_err(LoadError::Disable)?;
    for path in &rules.files {
        set.add_file(&path.to_string_lossy(), &bytes(path)?);
    }
    for dictionary in &rules.dictionaries {
        set.add_dictionary(&dictionary.file.to_string_lossy(), &bytes(&dictionary.file)?, &dictionary.head);
    }
    Ok(set)
}

fn bytes(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let rules = Rules { files: vec!["/nonexistent/my.toml".into()], ..Rules::default() };
        let told = compile(&rules, None).unwrap_err().to_string();
        assert!(told.starts_with("cannot read /nonexistent/my.toml: ") && told.contains("check that"), "{told}");
    }

    #[test]
    fn a_disabled_rule_that_is_not_there_is_named() {
        let rules = Rules { disable: vec!["no.such".into()], ..Rules::default() };
        let told = compile(&rules, None).unwrap_err().to_string();
        assert!(told.starts_with("rules.disable: there is no built-in rule \"no.such\""), "{told}");
    }

    #[test]
    fn the_daemon_takes_a_slow_rule_only_when_the_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("my.toml");
        let slow = "[[rule]]\nid = \"slow\"\nentity = \"X\"\nlabel = \"X\"\nseverity = \"low\"\nconfidence = 0.5\n\
                    pattern = '\\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,20}\\.){1,8}[A-Za-z]{2,8}'\n";
        std::fs::write(&file, slow).unwrap();
        let rules = Rules { files: vec![file.clone()], ..Rules::default() };
        let told = for_daemon(&rules, None).map(drop).unwrap_err().to_string();
        assert!(
            told.contains("my.toml:1:1: rule slow: slows the rule set by ") && told.contains("allow_slow"),
            "{told}"
        );
        for_daemon(&Rules { max_cost: 100, ..rules.clone() }, None).unwrap();
        std::fs::write(&file, format!("{slow}allow_slow = true\n")).unwrap();
        for_daemon(&rules, None).unwrap();
    }
}
