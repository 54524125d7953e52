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
    let meta = RuleMeta {
        id: entity.to_lowercase(),
        entity: entity.into(),
        label: entity.into(),
        severity,
        report_only: false,
    };
    Finding { span: 0..4, rule: Arc::new(meta), score: 1.0 }
}

fn decide(settings: Settings, facts: &Facts<'_>, access: Access, entity: &str) -> Decision {
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
        restore: None,
    }
}

fn allowed(decision: Decision) -> (Actions, Plan) {
    match decision.verdict {
        Verdict::Proceed(plan) => (decision.actions, plan),
        Verdict::Deny(denial) => panic!("denied: {denial:?}"),
    }
}

fn denied_by(decision: Decision) -> String {
    match decision.verdict {
        Verdict::Deny(denial) => denial.rule,
        Verdict::Proceed(plan) => panic!("not denied: {plan:?}"),
    }
}

#[test]
fn masks_what_no_rule_names() {
    let (actions, plan) = allowed(decide(Settings::default(), &facts(), Access::Editable, "CREDIT_CARD"));
    assert_eq!((actions.body, plan.action()), (vec![Action::Mask], Action::Mask));
}

#[test]
fn every_way_to_replace_is_masking_for_the_request() {
    for action in [Action::Mask, Action::Surrogate, Action::Label, Action::Partial, Action::Drop] {
        let settings = || Settings { rules: vec![rule("so", "*", action)], ..Settings::default() };
        let (actions, plan) = allowed(decide(settings(), &facts(), Access::Editable, "CREDIT_CARD"));
        assert_eq!((actions.body, plan.action(), plan.rule()), (vec![action], Action::Mask, "so"));
        assert_eq!(denied_by(decide(settings(), &facts(), Access::ReadOnly, "CREDIT_CARD")), "policy.signed_text");
    }
    let settings = Settings { rules: vec![rule("tell", "*", Action::Alert)], ..Settings::default() };
    let (actions, plan) = allowed(decide(settings, &facts(), Access::Editable, "CREDIT_CARD"));
    assert_eq!((actions.body, plan.action()), (vec![Action::Alert], Action::Allow));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let settings = Settings {
        rules: vec![rule("keys", "SECRET_*", Action::Deny), rule("all", "*", Action::Allow)],
        ..Settings::default()
    };
    assert_eq!(denied_by(decide(settings.clone(), &facts(), Access::Editable, "SECRET_AWS")), "keys");
    assert_eq!(allowed(decide(settings, &facts(), Access::Editable, "CREDIT_CARD")).1.action(), Action::Allow);
}

#[test]
fn a_rule_for_a_user_does_not_apply_to_an_unknown_one() {
    let mut only_jane = rule("jane", "*", Action::Deny);
    only_jane.users = vec!["jane".into()];
    let settings = Settings { rules: vec![only_jane], ..Settings::default() };
    assert_eq!(denied_by(decide(settings.clone(), &facts(), Access::Editable, "X")), "jane");
    let nobody = Facts { user: None, ..facts() };
    allowed(decide(settings, &nobody, Access::Editable, "X"));
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
        allowed(Policy::new(lax).decide(&facts, &none));
    }
}

#[test]
fn a_request_without_a_body_has_nothing_unreadable() {
    let facts = Facts { known_operation: false, has_body: false, ..facts() };
    let none = Findings { head: &[], body: &[], fields: &[] };
    allowed(Policy::default().decide(&facts, &none));
}

#[test]
fn what_cannot_be_masked_in_the_head_is_refused_unless_it_is_harmless() {
    let policy = Policy::default();
    for severity in [Severity::High, Severity::Medium] {
        let head = [finding("EMAIL_ADDRESS", severity)];
        let decision = policy.decide(&facts(), &Findings { head: &head, body: &[], fields: &[] });
        assert_eq!(denied_by(decision), "policy.head");
    }
    let head = [finding("IP_ADDRESS", Severity::Low)];
    let (actions, _) = allowed(policy.decide(&facts(), &Findings { head: &head, body: &[], fields: &[] }));
    assert_eq!(actions.head, [Action::Allow]);
}

#[test]
fn rules_hold_for_the_head_too() {
    let settings = Settings { rules: vec![rule("mail is fine", "EMAIL_*", Action::Allow)], ..Settings::default() };
    let head = [finding("EMAIL_ADDRESS", Severity::Medium)];
    allowed(Policy::new(settings).decide(&facts(), &Findings { head: &head, body: &[], fields: &[] }));
}

#[test]
fn a_denial_leaves_the_actions_of_other_findings_as_they_are() {
    let settings = Settings { rules: vec![rule("no cards", "CREDIT_CARD", Action::Deny)], ..Settings::default() };
    let fields = [field(Access::Editable)];
    let located = |entity| Located { field: 0, finding: finding(entity, Severity::High) };
    let body = [located("EMAIL_ADDRESS"), located("CREDIT_CARD")];
    let decision = Policy::new(settings).decide(&facts(), &Findings { head: &[], body: &body, fields: &fields });
    assert_eq!(decision.actions.body, [Action::Mask, Action::Deny]);
    assert_eq!(denied_by(decision), "no cards");
}

#[test]
fn what_is_only_reported_passes_unless_a_rule_names_it() {
    let meta = RuleMeta { report_only: true, ..(*finding("URL", Severity::Low).rule).clone() };
    let found = Finding { span: 0..4, rule: Arc::new(meta), score: 1.0 };
    let decide = |rules: Vec<Rule>| {
        let settings = Settings { rules, ..Settings::default() };
        let body = [Located { field: 0, finding: found.clone() }];
        let findings = Findings { head: &[], body: &body, fields: &[field(Access::Editable)] };
        allowed(Policy::new(settings).decide(&facts(), &findings)).0.body
    };
    let mask_all = Rule { types: Vec::new(), ..rule("all", "", Action::Mask) };
    assert_eq!(decide(Vec::new()), [Action::Allow]);
    assert_eq!(decide(vec![mask_all]), [Action::Allow]);
    assert_eq!(decide(vec![rule("links", "URL", Action::Mask)]), [Action::Mask]);
}

#[test]
fn a_star_stands_for_any_text_but_not_for_overlap() {
    let matcher = Matcher("ab*ba".into());
    assert!(matcher.matches("abba") && matcher.matches("abxba"));
    assert!(!matcher.matches("aba"));
}

#[test]
fn nothing_is_restored_unless_policy_says_so() {
    let restored =
        |settings: Settings, entity: &str| decide(settings, &facts(), Access::Editable, entity).actions.restore;
    assert_eq!(restored(Settings::default(), "PHONE"), [false]);
    let mail = Rule { restore: Some(true), ..rule("mail", "EMAIL_ADDRESS", Action::Mask) };
    let only_mail = Settings { rules: vec![mail], ..Settings::default() };
    assert_eq!(only_mail.check(), Ok(()));
    assert_eq!(restored(only_mail.clone(), "EMAIL_ADDRESS"), [true]);
    assert_eq!(restored(only_mail, "PHONE"), [false]);
    let card = Rule { restore: Some(false), ..rule("card", "CREDIT_CARD", Action::Mask) };
    let rules = vec![card, rule("label", "PHONE", Action::Label), rule("mail", "EMAIL_ADDRESS", Action::Mask)];
    let all_but_cards = Settings { restore: true, rules, ..Settings::default() };
    assert_eq!(restored(all_but_cards.clone(), "CREDIT_CARD"), [false]);
    assert_eq!(restored(all_but_cards.clone(), "PHONE"), [false], "a label is no token");
    assert_eq!(restored(all_but_cards.clone(), "EMAIL_ADDRESS"), [true]);
    assert_eq!(restored(all_but_cards, "US_SSN"), [true]);
}

#[test]
fn what_leaves_no_token_cannot_be_restored() {
    let idle = Rule { restore: Some(true), ..rule("cards", "CREDIT_CARD", Action::Surrogate) };
    let told = Settings { rules: vec![idle], ..Settings::default() }.check().unwrap_err().to_string();
    assert!(told.contains("\"cards\"") && told.contains("surrogate") && told.contains("mask"), "{told}");
}
