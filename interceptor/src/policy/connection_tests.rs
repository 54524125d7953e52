use proptest::prelude::*;

use super::*;

const NAME: &str = "api.example.com";

fn tls(name: Option<&str>, known: Known) -> Said<'_> {
    Said::Tls { name, known, ech: false }
}

fn opening(captured: Captured, said: Said<'_>) -> Opening<'_> {
    Opening { captured, port: 443, said, tunnel: None, caller: Who::default() }
}

fn decided(captured: Captured, said: Said<'_>) -> (Treatment, String) {
    let sentence = Connections::default().decide(&opening(captured, said));
    (sentence.treatment, sentence.rule)
}

fn rule(text: &str) -> ConnectionRule {
    toml::from_str(text).unwrap()
}

#[test]
fn each_first_word_has_its_default() {
    use Captured::{Enrolled, Strict};
    use Treatment::{Deny, Intercept, Splice};
    let http = |known| Said::Http { host: Some(NAME), known };
    for (captured, said, treatment, rule) in [
        (Enrolled, tls(Some(NAME), Known::Tls), Intercept, "connection.endpoint"),
        (Strict, tls(Some(NAME), Known::Tls), Intercept, "connection.endpoint"),
        (Enrolled, tls(Some(NAME), Known::Foreign), Deny, "connection.foreign_name"),
        (Strict, tls(Some(NAME), Known::Foreign), Splice, "connection.foreign_name"),
        (Enrolled, tls(None, Known::Foreign), Deny, "connection.no_name"),
        (Strict, tls(None, Known::Foreign), Deny, "strict.no_name"),
        (Strict, tls(Some(NAME), Known::OtherPort), Deny, "connection.port"),
        (Strict, tls(Some(NAME), Known::Plain), Deny, "connection.protocol"),
        (Enrolled, http(Known::Plain), Intercept, "connection.endpoint"),
        (Strict, http(Known::Tls), Deny, "connection.protocol"),
        (Strict, http(Known::OtherPort), Deny, "connection.port"),
        (Enrolled, http(Known::Foreign), Deny, "connection.protocol"),
        (Strict, http(Known::Foreign), Splice, "connection.foreign_name"),
        (Enrolled, Said::Nothing, Deny, "connection.protocol"),
        (Enrolled, Said::Other, Deny, "connection.protocol"),
        (Enrolled, Said::Socks, Deny, "connection.protocol"),
        (Strict, Said::Socks, Deny, "connection.socks"),
        (Strict, Said::Nothing, Splice, "connection.server_first"),
        (Strict, Said::Other, Splice, "connection.other_protocol"),
    ] {
        assert_eq!(decided(captured, said), (treatment, rule.to_owned()), "{captured:?} {said:?}");
    }
}

#[test]
fn an_encrypted_name_is_refused_where_it_cannot_be_read() {
    let outer = |name, known, ech| decided(Captured::Strict, Said::Tls { name: Some(name), known, ech });
    let known = outer("cloudflare-ech.com", Known::Public, true);
    assert_eq!(known, (Treatment::Deny, "strict.ech_public_names".into()));
    let own_site = outer("cloudflare-ech.com", Known::Public, false);
    assert_eq!(own_site.0, Treatment::Splice, "without ECH it is a name like any other");
    let configured = Strict { ech_public_names: vec![Matcher("*.front.example".into())], ..Strict::default() };
    let hidden = Said::Tls { name: Some("a.front.example"), known: Known::Foreign, ech: true };
    let sentence = Connections::new(Vec::new(), configured).decide(&opening(Captured::Strict, hidden));
    assert_eq!(sentence.treatment, Treatment::Deny);
    // GREASE offers ECH on every name: it must not cost anyone a connection.
    let grease = Said::Tls { name: Some(NAME), known: Known::Tls, ech: true };
    assert_eq!(decided(Captured::Enrolled, grease).0, Treatment::Intercept);
}

#[test]
fn tls_without_a_name_is_passed_on_only_where_that_is_asked_for() {
    let connections = Connections::new(Vec::new(), Strict { no_name: NoName::Splice, ..Strict::default() });
    let nameless = |captured| connections.decide(&opening(captured, tls(None, Known::Foreign))).treatment;
    assert_eq!(nameless(Captured::Strict), Treatment::Splice);
    assert_eq!(nameless(Captured::Enrolled), Treatment::Deny, "an endpoint's address is another matter");
}

#[test]
fn a_tunnel_and_the_name_in_it_must_agree_when_either_is_an_endpoint() {
    let connections = Connections::default();
    let treatment = |host, known, said| {
        let tunnel = Some(Tunnel { host, known });
        connections.decide(&Opening { tunnel, ..opening(Captured::Strict, said) }).treatment
    };
    assert_eq!(treatment(NAME, Known::Tls, tls(Some(NAME), Known::Tls)), Treatment::Intercept);
    for said in [
        tls(Some("other.example"), Known::Foreign),
        tls(Some("other.example"), Known::Tls),
        tls(None, Known::Foreign),
        Said::Nothing,
        Said::Other,
        Said::Http { host: Some(NAME), known: Known::Tls },
        Said::Http { host: Some("other.example"), known: Known::Foreign },
    ] {
        assert_eq!(treatment(NAME, Known::Tls, said), Treatment::Deny, "{said:?}");
    }
    assert_eq!(treatment("front.example", Known::Foreign, tls(Some(NAME), Known::Tls)), Treatment::Deny);
    assert_eq!(treatment("a.example", Known::Foreign, tls(Some("b.example"), Known::Foreign)), Treatment::Splice);
    assert_eq!(treatment("a.example", Known::Foreign, Said::Nothing), Treatment::Splice);
    for address in ["203.0.113.10", "2001:db8::10", "[2001:db8::10]"] {
        for said in [tls(Some("b.example"), Known::Foreign), tls(Some(NAME), Known::Tls), Said::Nothing] {
            assert_eq!(treatment(address, Known::Foreign, said), Treatment::Deny, "{address} {said:?}");
        }
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let connections = Connections::new(
        vec![
            rule("name = 'no torrents'\nport = [6881]\naction = 'deny'"),
            rule("name = 'backup'\nexe = ['/usr/bin/restic']\naction = 'splice'"),
            rule("name = 'telemetry'\nsni = ['*.metrics.example']\naction = 'splice'"),
            rule("name = 'the rest of alice'\nuser = ['alice']\naction = 'deny'"),
            rule("name = 'agents'\ncgroup = ['*/agents.slice']\naction = 'intercept'"),
        ],
        Strict::default(),
    );
    let decide = |caller, port, said| {
        let sentence = connections.decide(&Opening { caller, port, ..opening(Captured::Enrolled, said) });
        (sentence.treatment, sentence.rule, sentence.for_all)
    };
    let (foreign, endpoint) = (tls(Some("eu.metrics.example"), Known::Foreign), tls(Some(NAME), Known::Tls));
    let restic = Who { exe: Some("/usr/bin/restic"), own_mounts: true, ..Who::default() };
    let alice = Who { user: Some("alice"), ..Who::default() };
    let agents = Who { cgroup: Some("/jobs/agents.slice"), ..Who::default() };
    assert_eq!(decide(restic, 6881, endpoint), (Treatment::Deny, "no torrents".into(), false));
    assert_eq!(decide(restic, 443, endpoint), (Treatment::Splice, "backup".into(), true));
    assert_eq!(decide(alice, 443, foreign), (Treatment::Splice, "telemetry".into(), false));
    assert_eq!(decide(alice, 443, endpoint), (Treatment::Deny, "the rest of alice".into(), true));
    assert_eq!(decide(agents, 443, endpoint), (Treatment::Intercept, "agents".into(), false));
    assert_eq!(decide(agents, 443, Said::Other).0, Treatment::Deny, "what cannot be read cannot be intercepted");
    assert_eq!(decide(Who::default(), 443, endpoint).1, "connection.endpoint");
}

/// Whether a rule with these conditions has the same effect on `caller`, when it passes connections on and when it ends them.
fn passes_and_denies(conditions: &str, caller: Who<'_>) -> (bool, bool) {
    let opening = Opening { caller, ..opening(Captured::Enrolled, tls(Some(NAME), Known::Tls)) };
    let applies = |action| rule(&format!("name = 'rule'\n{conditions}\naction = '{action}'")).applies(&opening);
    assert_eq!(applies("intercept"), applies("splice"), "a rule that comes before others is a permission, too");
    (applies("splice"), applies("deny"))
}

#[test]
fn what_runs_is_no_evidence_in_a_mount_namespace_of_the_callers_own() {
    let digest = "aB".repeat(32);
    let conditions = format!("exe = ['/usr/bin/sort']\nexe_sha256 = ['{digest}']");
    let ran = digest.to_lowercase();
    let sort = Who { exe: Some("/usr/bin/sort"), exe_sha256: Some(&ran), ..Who::default() };
    for conditions in [&conditions[..], "exe = ['/usr/bin/sort']", &format!("exe_sha256 = ['{digest}']")] {
        assert_eq!(passes_and_denies(conditions, Who { own_mounts: true, ..sort }), (true, true), "{conditions}");
        assert_eq!(passes_and_denies(conditions, sort), (false, true), "{conditions}");
    }
    let another = "0".repeat(64);
    let other = Who { own_mounts: true, exe_sha256: Some(&another), ..sort };
    assert_eq!(passes_and_denies(&conditions, other), (false, false));
    assert_eq!(passes_and_denies(&conditions, Who { exe_sha256: None, ..other }), (false, false));
}

#[test]
fn names_that_a_user_chose_are_no_evidence_without_the_user() {
    let caller = |cgroup| Who { cgroup: Some(cgroup), container: Some("abc"), user: Some("eve"), ..Who::default() };
    for own in [
        "/user.slice/user-1000.slice/user@1000.service/docker-abc.scope",
        "/user.slice/user-1000.slice/session-3.scope/docker-abc.scope",
        "/user@1000.service/docker-abc.scope",
    ] {
        let caller = caller(own);
        for conditions in ["container = ['abc']", "cgroup = ['*/docker-abc.scope']", "cgroup = ['/user*']"] {
            assert_eq!(passes_and_denies(conditions, caller), (false, true), "{conditions} {own}");
            assert_eq!(passes_and_denies(&format!("{conditions}\nuser = ['eve']"), caller), (true, true));
            assert_eq!(passes_and_denies(&format!("{conditions}\nuser = ['bob']"), caller), (false, false));
        }
        assert_eq!(passes_and_denies(&format!("cgroup = ['{own}']"), caller), (true, true), "whose it is stands in it");
    }
    for system in
        ["/system.slice/docker-abc.scope", "/user.slice/docker-abc.scope", "/x/user-1000.slice.d/docker-abc.scope"]
    {
        assert_eq!(passes_and_denies("container = ['abc']", caller(system)), (true, true), "{system}");
        assert_eq!(passes_and_denies("cgroup = ['*/docker-abc.scope']", caller(system)), (true, true), "{system}");
    }
}

#[test]
fn socks_passes_by_a_rule_alone() {
    let jump = rule("name = 'jump host'\nport = [1080]\naction = 'splice'");
    let connections = Connections::new(vec![jump], Strict::default());
    let decide = |port| connections.decide(&Opening { port, ..opening(Captured::Strict, Said::Socks) });
    assert_eq!((decide(1080).treatment, decide(1080).rule.as_str()), (Treatment::Splice, "jump host"));
    assert_eq!((decide(1081).treatment, decide(1081).rule.as_str()), (Treatment::Deny, "connection.socks"));
    let read = rule("name = 'read it'\nport = [1080]\naction = 'intercept'");
    let sentence = read.sentence(&opening(Captured::Strict, Said::Socks));
    assert_eq!(sentence.treatment, Treatment::Deny);
}

#[test]
fn only_a_rule_about_the_caller_holds_for_all_of_a_connection() {
    let connection = opening(Captured::Strict, tls(Some(NAME), Known::Foreign));
    for (conditions, for_all) in [
        ("user = ['alice']", true),
        ("cgroup = ['/a']", true),
        ("port = [443]", false),
        ("sni = ['*']", false),
        ("user = ['alice']\nport = [443]", false),
    ] {
        for action in ["splice", "deny"] {
            let rule = rule(&format!("name = 'rule'\n{conditions}\naction = '{action}'"));
            assert_eq!(rule.sentence(&connection).for_all, for_all, "{action} {conditions}");
        }
    }
}

#[test]
fn a_program_alone_is_nothing_to_pass_connections_on_for() {
    let digest = "0".repeat(64);
    let check = |conditions: &str, action: &str| {
        rule(&format!("name = 'rule'\nexe = ['/usr/bin/restic']\n{conditions}\naction = '{action}'")).check()
    };
    for alone in ["", "sni = ['*.backup.example']", "port = [443]"] {
        let message = check(alone, "splice").unwrap_err();
        assert!(message.contains("\"rule\"") && message.contains("`user`, `cgroup` or `exe_sha256`"), "{message}");
        check(alone, "deny").unwrap();
        check(alone, "intercept").unwrap();
    }
    for more in ["user = ['backup']", "cgroup = ['/a']", &format!("exe_sha256 = ['{digest}']")] {
        check(more, "splice").unwrap();
    }
    for bad in ["abc", &digest[1..], &format!("{}g", &digest[1..])] {
        let message = check(&format!("exe_sha256 = ['{bad}']"), "deny").unwrap_err();
        assert!(message.contains(bad) && message.contains("sha256sum"), "{message}");
    }
}

#[test]
fn a_rule_that_passes_everything_is_refused() {
    assert!(rule("name = 'all'\naction = 'splice'").check().unwrap_err().contains("condition"));
    assert!(rule("name = 'all'\naction = 'deny'").check().is_ok());
    assert!(rule("name = ''\nport = [22]\naction = 'splice'").check().unwrap_err().contains("empty name"));
    assert!(toml::from_str::<ConnectionRule>("name = 'a'\nhosts = []\naction = 'deny'").is_err(), "unknown key");
}

fn known() -> impl Strategy<Value = Known> {
    use Known::{Foreign, OtherPort, Plain, Public, Tls};
    prop_oneof![Just(Foreign), Just(Tls), Just(Plain), Just(OtherPort), Just(Public)]
}

fn said() -> impl Strategy<Value = Said<'static>> {
    let name = || prop::option::of(prop_oneof![Just(NAME), Just("other.example"), Just("cloudflare-ech.com")]);
    prop_oneof![
        Just(Said::Nothing),
        Just(Said::Other),
        Just(Said::Socks),
        (name(), known(), any::<bool>()).prop_map(|(name, known, ech)| Said::Tls { name, known, ech }),
        (name(), known()).prop_map(|(host, known)| Said::Http { host, known }),
    ]
}

proptest! {
    /// Without a rule that says so, nothing is passed on unread that is for an endpoint or comes to its address.
    #[test]
    fn nothing_for_an_endpoint_is_passed_on_unread(
        said in said(),
        enrolled: bool,
        tunnel in prop::option::of((prop_oneof![Just(NAME), Just("proxy.example")], known())),
    ) {
        let captured = if enrolled { Captured::Enrolled } else { Captured::Strict };
        let tunnel = tunnel.map(|(host, known)| Tunnel { host, known });
        let sentence = Connections::default().decide(&Opening { tunnel, ..opening(captured, said) });
        let named = |known| matches!(known, Known::Tls | Known::Plain | Known::OtherPort);
        let for_endpoint = match said {
            Said::Tls { name: Some(_), known, .. } | Said::Http { known, .. } => named(known),
            _ => false,
        };
        if enrolled || for_endpoint || tunnel.is_some_and(|tunnel| named(tunnel.known)) {
            prop_assert_ne!(sentence.treatment, Treatment::Splice);
        }
        prop_assert!(!sentence.for_all && sentence.rule.contains('.'));
    }
}
