//! What a host's administrator may say about requests.

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::flow::{Action, Provider, RuleMeta, Severity};

/// The `[policy]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What is done with a finding that no rule names.
    pub findings: Action,
    /// Whether the answer gets back what left as a token, unless a rule says otherwise.
    pub restore: bool,
    /// Requests with a body whose text cannot be located.
    pub unknown_operations: OnOpaque,
    /// Images and sound inside a request.
    pub media: OnOpaque,
    /// Files and other parts that hold text which was not located.
    pub documents: OnOpaque,
    /// Exceptions, first match decides.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// What to do with what was not scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOpaque {
    /// Refuse the request.
    Deny,
    /// Let it pass, and say in the record that it was not scanned.
    Record,
}

/// A `[[policy.rule]]`: all conditions given must hold; a condition left out always does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Stands in the record and in the error the client sees.
    pub name: String,
    /// Kinds of values: `CREDIT_CARD`, `SECRET_*`. Those that are only reported by default must be named.
    #[serde(default)]
    pub types: Vec<Matcher>,
    /// At least this grave.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Whose protocol.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Endpoint names: `api.openai.com`, `*.openai.azure.com`.
    #[serde(default)]
    pub hosts: Vec<Matcher>,
    /// Calling users.
    #[serde(default)]
    pub users: Vec<String>,
    /// Groups, any of which the caller is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What is done.
    pub action: Action,
    /// Whether the answer gets back what left as a token; not given, as [`Settings::restore`] says.
    #[serde(default)]
    pub restore: Option<bool>,
}

/// Settings that contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Only tokens are found in an answer.
    #[error(
        "policy rule {rule:?}: `restore = true` goes with `action = \"mask\"`: nothing else leaves a token, by which \
         a value is found again in the answer; its action is {action:?}"
    )]
    NothingToRestore {
        /// The rule's name.
        rule: String,
        /// What it does.
        action: String,
    },
}

impl Settings {
    /// Looks for what cannot be meant.
    ///
    /// # Errors
    /// The first [`Contradiction`].
    pub fn check(&self) -> Result<(), Contradiction> {
        let idle = self.rules.iter().find(|rule| rule.restore == Some(true) && rule.action != Action::Mask);
        match idle {
            None => Ok(()),
            Some(rule) => {
                Err(Contradiction::NothingToRestore { rule: rule.name.clone(), action: rule.action.to_string() })
            }
        }
    }
}

/// A name with at most one `*`, which stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Matcher(pub String);

impl Default for Settings {
    fn default() -> Self {
        Self {
            findings: Action::Mask,
            restore: false,
            unknown_operations: OnOpaque::Deny,
            media: OnOpaque::Record,
            documents: OnOpaque::Deny,
            rules: Vec::new(),
        }
    }
}

impl Rule {
    pub(super) fn applies(&self, facts: &Facts<'_>, meta: &RuleMeta) -> bool {
        let named = self.types.iter().any(|kind| kind.matches(&meta.entity));
        (named || (self.types.is_empty() && !meta.report_only))
            && self.severity.is_none_or(|least| meta.severity >= least)
            && (self.providers.is_empty() || self.providers.contains(&facts.provider))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(facts.host)))
            && (self.users.is_empty() || facts.user.is_some_and(|user| self.users.iter().any(|name| name == user)))
            && (self.groups.is_empty() || self.groups.iter().any(|group| facts.groups.contains(group)))
    }
}

impl Matcher {
    /// Whether `name` is the pattern, its `*` standing for any text.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.split_once('*') {
            None => self.0 == name,
            Some((start, end)) => {
                name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
            }
        }
    }
}
