//! What the configuration says about metrics and alerts.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::flow::Severity;
use crate::policy::Matcher;
use crate::sinks::CollectorSettings;

/// Seconds that a rule may count together: what a restarted daemon reads again to know what was counted.
const MOST_WINDOW_S: u64 = 3600;

/// The `[metrics]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where Prometheus scrapes; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether `listen` may be an address that other hosts reach.
    pub public: bool,
    /// Where the same numbers are pushed to.
    pub otlp: Option<CollectorSettings>,
    /// How often, in seconds.
    pub interval_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: None, public: false, otlp: None, interval_s: 60 }
    }
}

impl Settings {
    /// Whether anyone wants them.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.listen.is_some() || self.otlp.is_some()
    }

    /// Whether they can be as they are.
    ///
    /// # Errors
    /// The key, what is wrong with it, and what to do.
    pub fn check(&self) -> Result<(), String> {
        if let Some(address) = self.listen.filter(|address| !address.ip().is_loopback() && !self.public) {
            return Err(format!(
                "metrics.listen is {address}, which other hosts may reach, and whoever reaches it can read the counts; \
                 use 127.0.0.1 or [::1], or set metrics.public = true"
            ));
        }
        if self.listen.is_some_and(|address| address.port() == 0) {
            return Err("metrics.listen has port 0, which nobody could find; choose another, as 9464".into());
        }
        if self.interval_s == 0 {
            return Err("metrics.interval_s is 0; choose 1 or more".into());
        }
        Ok(())
    }
}

/// One `[[alert]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// What it is called: in alerts, and as a label.
    pub name: String,
    /// What is counted.
    pub when: When,
    /// Findings of at least this severity; none: any.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Findings of these types; empty: any.
    #[serde(default)]
    pub types: Vec<Matcher>,
    /// So many raise the alert.
    #[serde(default = "one")]
    pub count: u64,
    /// Within so many seconds; after an alert the rule is quiet for as long.
    #[serde(default = "sixty")]
    pub window_s: u64,
    /// What is counted separately.
    #[serde(default)]
    pub per: Per,
    /// How bad the alert is.
    #[serde(default = "high")]
    pub level: Severity,
}

/// What a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Values found in requests.
    Findings,
    /// Requests that were denied.
    Denied,
    /// Requests with content that could not be read as text.
    Opaque,
    /// Requests, whatever became of them.
    Requests,
}

/// What is counted separately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each caller's user.
    #[default]
    Caller,
    /// Each endpoint.
    Endpoint,
    /// Nothing.
    Host,
}

fn one() -> u64 {
    1
}

fn sixty() -> u64 {
    60
}

fn high() -> Severity {
    Severity::High
}

impl AlertRule {
    /// Whether the rules can be as they are.
    ///
    /// # Errors
    /// The rule, what is wrong with it, and what to do.
    pub fn check(all: &[Self]) -> Result<(), String> {
        let mut names: Vec<_> = all.iter().map(|rule| &rule.name).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("two alerts are called {:?}; give each a name of its own", pair[0]));
        }
        all.iter().try_for_each(Self::check_one)
    }

    fn check_one(&self) -> Result<(), String> {
        let Self { name, count, window_s, .. } = self;
        let wrong = |why: &str| Err(format!("alert {name:?}: {why}"));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return wrong("its name has to be 1 to 64 letters, digits, spaces, - and _: it is also a label");
        }
        if super::rules::OWN.contains(&name.as_str()) {
            return wrong("the daemon raises alerts of this name itself; choose another");
        }
        if *count == 0 {
            return wrong("count is 0; choose 1 or more");
        }
        if !(1..=MOST_WINDOW_S).contains(window_s) {
            return wrong(&format!("window_s is {window_s}; choose 1 to {MOST_WINDOW_S}"));
        }
        if self.when != When::Findings && (self.severity.is_some() || !self.types.is_empty()) {
            return wrong("severity and types choose among findings; set when = \"findings\", or leave them out");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_with_its_defaults() {
        let rule: AlertRule = toml::from_str("name = 'a'\nwhen = 'findings'\ntypes = ['SECRET_*']").unwrap();
        assert_eq!((rule.count, rule.window_s, rule.per, rule.level), (1, 60, Per::Caller, Severity::High));
        AlertRule::check(&[rule]).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_named_with_it() {
        for (text, expected) in [
            ("name = 'a|b'\nwhen = 'denied'", "letters, digits"),
            ("name = 'degraded'\nwhen = 'denied'", "itself"),
            ("name = 'a'\nwhen = 'denied'\ncount = 0", "count is 0"),
            ("name = 'a'\nwhen = 'denied'\nwindow_s = 86400", "1 to 3600"),
            ("name = 'a'\nwhen = 'denied'\ntypes = ['EMAIL']", "leave them out"),
        ] {
            let rule: AlertRule = toml::from_str(text).unwrap();
            let message = AlertRule::check(&[rule]).unwrap_err();
            assert!(message.contains("alert \"") && message.contains(expected), "{text}: {message}");
        }
        assert!(toml::from_str::<AlertRule>("name = 'a'\nwhen = 'never'").unwrap_err().message().contains("never"));
        let rule: AlertRule = toml::from_str("name = 'a'\nwhen = 'denied'").unwrap();
        assert!(AlertRule::check(&[rule.clone(), rule]).unwrap_err().contains("two alerts are called \"a\""));
    }

    #[test]
    fn an_address_that_others_reach_must_be_asked_for() {
        let settings = |text: &str| toml::from_str::<Settings>(text).unwrap();
        for good in ["", "listen = '127.0.0.1:9464'", "listen = '[::1]:9464'", "listen = '0.0.0.0:9464'\npublic = true"]
        {
            settings(good).check().unwrap();
        }
        let message = settings("listen = '192.0.2.1:9464'").check().unwrap_err();
        assert!(message.contains("192.0.2.1:9464") && message.contains("metrics.public"), "{message}");
        assert!(settings("listen = '127.0.0.1:0'").check().unwrap_err().contains("port 0"));
        assert!(settings("interval_s = 0").check().unwrap_err().contains("interval_s"));
        assert!(toml::from_str::<Settings>("listen = 'localhost'").is_err());
    }
}
