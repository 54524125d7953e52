use super::*;
use crate::capture::WhenDown;
use crate::flow::Provider;

fn endpoint(text: &str) -> Endpoint {
    toml::from_str(text).unwrap()
}

fn provider(catalogue: &Catalogue, name: &str) -> Option<Provider> {
    catalogue.find(name, 443).map(|endpoint| endpoint.provider)
}

#[test]
fn an_endpoint_is_found_by_name_and_port() {
    let catalogue = Catalogue::new(&[], None);
    assert_eq!(provider(&catalogue, "api.anthropic.com"), Some(Provider::Anthropic));
    assert_eq!(provider(&catalogue, "API.Anthropic.com."), Some(Provider::Anthropic));
    assert!(catalogue.find("api.anthropic.com", 80).is_none());
    assert!(catalogue.find("example.com", 443).is_none());
}

#[test]
fn the_built_in_wildcards_stand_for_the_names_in_use() {
    let catalogue = Catalogue::new(&[], None);
    for (name, expected) in [
        ("acme-prod.openai.azure.com", Provider::OpenAi),
        ("acme-prod.services.ai.azure.com", Provider::OpenAi),
        ("acme-prod.cognitiveservices.azure.com", Provider::OpenAi),
        ("bedrock-runtime.us-east-1.amazonaws.com", Provider::Bedrock),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", Provider::Bedrock),
        ("bedrock-agent-runtime.eu-central-1.amazonaws.com", Provider::Bedrock),
        ("vpce-0a1b-c2d3.bedrock-runtime.us-east-1.vpce.amazonaws.com", Provider::Bedrock),
        ("bedrock-mantle.us-east-1.api.aws", Provider::OpenAi),
        ("us-central1-aiplatform.googleapis.com", Provider::Gemini),
        ("aiplatform.googleapis.com", Provider::Gemini),
        ("aiplatform.eu.rep.googleapis.com", Provider::Gemini),
        ("generativelanguage.googleapis.com", Provider::Gemini),
        ("us-south.ml.cloud.ibm.com", Provider::Other),
        ("eu.api.openai.com", Provider::OpenAi),
        ("api.business.githubcopilot.com", Provider::OpenAi),
    ] {
        assert_eq!(provider(&catalogue, name), Some(expected), "{name}");
    }
    for name in ["s3.us-east-1.amazonaws.com", "storage.googleapis.com", "azure.com", "login.openai.azure.com.example"]
    {
        assert_eq!(provider(&catalogue, name), None, "{name}");
    }
}

#[test]
fn configured_endpoints_stand_alone_unless_the_catalogue_is_asked_for() {
    let own = [endpoint("provider = 'anthropic'\nnames = ['api.openai.com', 'llm.corp.example']")];
    let alone = Catalogue::new(&own, None);
    assert_eq!(provider(&alone, "llm.corp.example"), Some(Provider::Anthropic));
    assert_eq!(provider(&alone, "api.groq.com"), None);
    let both = Catalogue::new(&own, Some(Base::Builtin));
    assert_eq!(provider(&both, "api.groq.com"), Some(Provider::OpenAi));
    assert_eq!(provider(&both, "api.openai.com"), Some(Provider::Anthropic), "the configured one wins");
    assert!(Catalogue::new(&[], Some(Base::None)).is_empty());
    assert!(both.must_resolve("llm.corp.example", false) && both.must_resolve("api.groq.com", true));
    assert!(!both.must_resolve("api.groq.com", false));
}

#[test]
fn one_name_may_be_two_endpoints_on_two_ports() {
    let catalogue = Catalogue::new(
        &[
            endpoint("provider = 'openai'\nnames = ['llm.corp.example']"),
            endpoint("provider = 'ollama'\nnames = ['llm.corp.example']\nprotocol = 'http'\nports = [11434]"),
        ],
        None,
    );
    assert_eq!(catalogue.find("llm.corp.example", 443).unwrap().protocol, Protocol::Https);
    assert_eq!(catalogue.find("llm.corp.example", 11434).unwrap().protocol, Protocol::Http);
    assert!(catalogue.find("llm.corp.example", 8443).is_none() && catalogue.knows("LLM.corp.example"));
    assert!(!catalogue.knows("corp.example"));
}

#[test]
fn an_endpoint_is_found_by_a_configured_address_and_port() {
    let catalogue = Catalogue::new(
        &[
            endpoint("provider = 'openai'\nnames = ['llm.corp.example']\naddresses = ['203.0.113.10']"),
            endpoint(
                "provider = 'ollama'\nprotocol = 'http'\nports = [11434]\naddresses = ['127.0.0.0/8', '::1']\n\
                 when_down = 'open'",
            ),
        ],
        None,
    );
    for ip in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        let found = catalogue.by_address(ip.parse().unwrap(), 11434).unwrap();
        assert_eq!((found.provider, found.when_down), (Provider::Ollama, WhenDown::Open), "{ip}");
    }
    assert!(catalogue.by_address("127.0.0.1".parse().unwrap(), 8000).is_none());
    assert_eq!(catalogue.by_address("203.0.113.10".parse().unwrap(), 443).unwrap().protocol, Protocol::Https);
    assert!(catalogue.by_address("203.0.113.11".parse().unwrap(), 443).is_none());
}

#[test]
fn the_ca_may_sign_for_the_narrowest_subtrees_of_tls_endpoints_alone() {
    let catalogue = Catalogue::new(
        &[
            endpoint("provider = 'openai'\nnames = ['llm.corp.example', '*.openai.azure.com', 'eu.llm.corp.example']"),
            endpoint("provider = 'gemini'\nnames = ['*-aiplatform.googleapis.com', 'aiplatform.googleapis.com']"),
            endpoint("provider = 'ollama'\nnames = ['plain.corp.example']\nprotocol = 'http'\nports = [80]"),
        ],
        None,
    );
    assert_eq!(catalogue.names(), ["googleapis.com", "llm.corp.example", "openai.azure.com"]);
    for (name, expected) in [
        ("us-central1-aiplatform.googleapis.com", true),
        ("storage.googleapis.com", false),
        ("x.llm.corp.example", false),
        ("plain.corp.example", false),
    ] {
        assert_eq!(catalogue.has_leaf(name), expected, "{name}");
    }
}

#[test]
fn the_name_that_hides_others_is_known() {
    let catalogue = Catalogue::new(&[], None);
    assert!(catalogue.is_ech_public_name("Cloudflare-ECH.com"));
    assert!(!catalogue.is_ech_public_name("api.openai.com"));
    assert!(catalogue.find("cloudflare-ech.com", 443).is_none());
}

#[test]
fn wildcards_are_not_looked_up_and_failures_name_the_name() {
    let catalogue =
        Catalogue::new(&[endpoint("provider = 'openai'\nnames = ['localhost', '*.corp.invalid', 'no.invalid']")], None);
    let lookups = catalogue.resolve();
    assert_eq!(lookups.iter().map(|lookup| &*lookup.name).collect::<Vec<_>>(), ["localhost", "no.invalid"]);
    assert!(lookups[0].result.as_ref().unwrap().iter().all(IpAddr::is_loopback));
    assert!(lookups[1].result.is_err());
}

#[test]
fn an_endpoint_without_names_is_reached_over_tls_by_its_address() {
    let addressed = endpoint("provider = 'openai'\naddresses = ['203.0.113.0/28', '2001:db8::7']");
    let named = endpoint("provider = 'openai'\nnames = ['a.example']\naddresses = ['203.0.113.1', '198.51.100.1']");
    let catalogue = Catalogue::new(&[named, addressed.clone()], None);
    let at = |ip: &str, port| catalogue.addressed(ip.parse().unwrap(), port).map(|found| (**found).clone());
    assert_eq!(at("203.0.113.1", 443), Some(addressed.clone()), "whoever asks for a name has one");
    assert_eq!(at("2001:db8::7", 443), Some(addressed));
    assert_eq!((at("198.51.100.1", 443), at("203.0.113.1", 8443)), (None, None));
    assert!(catalogue.has_leaf("203.0.113.1") && catalogue.has_leaf("2001:db8::7"));
    assert!(!catalogue.has_leaf("198.51.100.1"));
    assert_eq!(catalogue.names(), ["a.example", "2001:db8::7", "203.0.113.0/28"]);
}
