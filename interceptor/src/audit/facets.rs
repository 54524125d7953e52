//! What records can be asked for by: the values of each record that filters look at. One definition for the record
//! itself and for the index of a segment, so that both always agree.

use std::borrow::Cow;
use std::ops::Range;

use super::record::{Caller, Record};

/// A kind of value that records are asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// User, uid, program, `user/program`, unit, container, pod or identity.
    Caller,
    /// Host, address or provider.
    Endpoint,
    /// The model.
    Model,
    /// What was decided.
    Decision,
    /// Masking rules that found something, and the rule of policy that decided.
    Rule,
    /// Types of what was found.
    Type,
}

impl Facet {
    /// All, in the order of the columns of an index.
    pub const ALL: [Self; 6] = [Self::Caller, Self::Endpoint, Self::Model, Self::Decision, Self::Rule, Self::Type];

    /// A record's values of this kind, each once.
    #[must_use]
    pub fn values(self, record: &Record) -> Vec<Cow<'_, str>> {
        let findings = record.findings.iter();
        let mut values: Vec<Cow<'_, str>> = match self {
            Self::Caller => caller(&record.caller),
            Self::Endpoint => {
                let endpoint = &record.endpoint;
                let texts = [endpoint.host.as_deref(), endpoint.provider.as_deref()].into_iter().flatten();
                texts.map(Cow::from).chain(endpoint.ip.map(|ip| ip.to_string().into())).collect()
            }
            Self::Model => record.request.model.as_deref().map(Cow::from).into_iter().collect(),
            Self::Decision => record.decision.action.as_deref().map(Cow::from).into_iter().collect(),
            Self::Rule => {
                findings.map(|f| Cow::from(&*f.rule)).chain(record.decision.rule.as_deref().map(Cow::from)).collect()
            }
            Self::Type => findings.map(|f| Cow::from(&*f.entity)).collect(),
        };
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// What a caller may be called.
fn caller(caller: &Caller) -> Vec<Cow<'_, str>> {
    let subject = caller.identity.as_ref().and_then(|identity| identity.subject.as_deref());
    let uid = caller.uid.map(|uid| Cow::from(uid.to_string()));
    let texts = [&caller.user, &caller.exe, &caller.unit, &caller.user_unit, &caller.container, &caller.pod];
    let texts = texts.into_iter().map(|text| text.as_deref()).chain([caller.program(), subject]);
    // And as tables show them.
    let pair = caller.short_user().map(|_| Cow::from(caller.short()));
    texts.map(|text| text.map(Cow::from)).chain([uid, pair]).flatten().collect()
}

/// Says which records are wanted.
pub trait Select {
    /// When they arrived, nanoseconds since 1970.
    fn time(&self) -> Range<u64>;

    /// Whether a record's values of this kind matter.
    fn asks(&self, facet: Facet) -> bool;

    /// Whether a record that has these values is wanted, as far as this kind of value tells.
    fn fits(&self, facet: Facet, values: &[&str]) -> bool;

    /// Whether `record` is wanted.
    fn takes(&self, record: &Record) -> bool {
        self.time().contains(&record.time.unix_ns())
            && Facet::ALL.into_iter().filter(|facet| self.asks(*facet)).all(|facet| {
                let values = facet.values(record);
                self.fits(facet, &values.iter().map(|value| &**value).collect::<Vec<_>>())
            })
    }
}

/// Every record.
#[derive(Clone, Copy, Debug)]
pub struct Everything;

impl Select for Everything {
    fn time(&self) -> Range<u64> {
        0..u64::MAX
    }

    fn asks(&self, _: Facet) -> bool {
        false
    }

    fn fits(&self, _: Facet, _: &[&str]) -> bool {
        true
    }
}
