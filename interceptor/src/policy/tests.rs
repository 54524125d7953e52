use std::borrow::Cow;
use std::sync::Arc;

use super::*;
use crate::flow::{Form, OffsetMap};

fn facts() -> Facts<'static> {
    Facts {
        provider: Provider::OpenAi,
        host: "api.openai.com",
        user: Some("jane"),
        groups: &[],
        known_operation: true,
        has_body: true,
        opaque_media: false,
        opaque_documents: false,
    }
}

fn field(access: Access) -> Field<'static> {
    Field {
        path: "messages[0].content".into(),
        text: Cow::Borrowed("0123456789"),
        map: OffsetMap::identity(0, 10),
        form: Form::String { depth: 0 },
        access,
        name: None,
    }
}

fn finding(entity: &str, severity: Severity) -> Finding {
    let meta = RuleMeta { id: entity.to_lowercase(), entity: entity.into(), label: entity.into(), severity };
    Finding { span: 0..4, rule: Arc::new(meta), score: 1.0 }
}

fn decide(settings: Settings, facts: &Facts<'_>, access: Access, entity: &str) -> Verdict {
    let fields = [field(access)];
    let body = [Located { field: 0, finding: finding(entity, Severity::High) }];
    Policy::new(settings).decide(facts, &Findings { head: &[], body: &body, fields: &fields })
}

fn rule(name: &str, kind: &str, action: Action) -> Rule {
    Rule {
        name: name.into(),
        types: vec![Matcher(kind.into())],
        severity: None,
        providers: Vec::new(),
        hosts: Vec::new(),
        users: Vec::new(),
        groups: Vec::new(),
        action,
    }
}

fn denied_by(verdict: Verdict) -> String {
    match verdict {
        Verdict::Deny(denial) => denial.rule,
        Verdict::Proceed(plan) => panic!("not denied: {plan:?}"),
    }
}

#[test]
fn masks_what_no_rule_names() {
    let Verdict::Proceed(plan) = decide(Settings::default(), &facts(), Access::Editable, "CREDIT_CARD") else {
        panic!("denied")
    };
    assert_eq!((plan.actions(), plan.action()), (&[Action::Mask][..], Action::Mask));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let settings = Settings {
        rules: vec![rule("keys", "SECRET_*", Action::Deny), rule("all", "*", Action::Allow)],
        ..Settings::default()
    };
    assert_eq!(denied_by(decide(settings.clone(), &facts(), Access::Editable, "SECRET_AWS")), "keys");
    let Verdict::Proceed(plan) = decide(settings, &facts(), Access::Editable, "CREDIT_CARD") else { panic!("denied") };
    assert_eq!(plan.action(), Action::Allow);
}

#[test]
fn a_rule_for_a_user_does_not_apply_to_an_unknown_one() {
    let mut only_jane = rule("jane", "*", Action::Deny);
    only_jane.users = vec!["jane".into()];
    let settings = Settings { rules: vec![only_jane], ..Settings::default() };
    assert_eq!(denied_by(decide(settings.clone(), &facts(), Access::Editable, "X")), "jane");
    let nobody = Facts { user: None, ..facts() };
    assert!(matches!(decide(settings, &nobody, Access::Editable, "X"), Verdict::Proceed(_)));
}

#[test]
fn signed_text_with_a_finding_is_refused_rather_than_broken() {
    assert_eq!(denied_by(decide(Settings::default(), &facts(), Access::ReadOnly, "US_SSN")), "policy.signed_text");
}

#[test]
fn what_cannot_be_read_is_denied_unless_the_policy_records_it() {
    let cases = [
        (Facts { known_operation: false, ..facts() }, "policy.unknown_operations"),
        (Facts { opaque_documents: true, ..facts() }, "policy.documents"),
    ];
    for (facts, rule) in cases {
        let none = Findings { head: &[], body: &[], fields: &[] };
        assert_eq!(denied_by(Policy::default().decide(&facts, &none)), rule);
        let lax = Settings { unknown_operations: OnOpaque::Record, documents: OnOpaque::Record, ..Settings::default() };
        assert!(matches!(Policy::new(lax).decide(&facts, &none), Verdict::Proceed(_)));
    }
}

#[test]
fn a_request_without_a_body_has_nothing_unreadable() {
    let facts = Facts { known_operation: false, has_body: false, ..facts() };
    let none = Findings { head: &[], body: &[], fields: &[] };
    assert!(matches!(Policy::default().decide(&facts, &none), Verdict::Proceed(_)));
}

#[test]
fn grave_values_in_the_head_are_refused_and_others_recorded() {
    let policy = Policy::default();
    let high = [finding("CREDIT_CARD", Severity::High)];
    let low = [finding("IP_ADDRESS", Severity::Low)];
    let verdict = policy.decide(&facts(), &Findings { head: &high, body: &[], fields: &[] });
    assert_eq!(denied_by(verdict), "policy.head");
    let verdict = policy.decide(&facts(), &Findings { head: &low, body: &[], fields: &[] });
    assert!(matches!(verdict, Verdict::Proceed(_)));
}

#[test]
fn a_star_stands_for_any_text_but_not_for_overlap() {
    let matcher = Matcher("ab*ba".into());
    assert!(matcher.matches("abba") && matcher.matches("abxba"));
    assert!(!matcher.matches("aba"));
}
