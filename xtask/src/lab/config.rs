//! The daemon's configuration in the lab: the lab's own, with the user's file laid over it.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

use super::names::{ENROLLED, PORT};

/// The transport of every lab's daemon, for a whole run of the tests; wins over the user's file.
pub(crate) const TRANSPORT: &str = "INTERCEPTOR_LAB_TRANSPORT";

/// Where things are that the configuration names.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) cgroup: &'a Path,
    pub(crate) pin: &'a Path,
    pub(crate) roots: &'a Path,
    pub(crate) auditor: &'a Path,
}

/// The text of the configuration file.
///
/// A setting of `user` wins over the lab's; an endpoint of `user` replaces the lab's of the same name, and gets its
/// addresses where it gives none; further roots are added, for without its own the lab's endpoint is not believed.
pub(crate) fn render(places: &Places<'_>, user: Option<&Path>) -> Result<String> {
    let mut config = own(places)?;
    if let Some(path) = user {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let overrides: Table = text.parse().with_context(|| format!("{} is not TOML", path.display()))?;
        lay_over(&mut config, overrides).with_context(|| format!("{} does not fit the lab", path.display()))?;
    }
    if let Some(transport) = std::env::var_os(TRANSPORT) {
        let transport = transport.to_str().with_context(|| format!("{TRANSPORT} is not text"))?;
        set_transport(&mut config, transport);
    }
    toml::to_string(&config).context("cannot write the daemon's configuration")
}

fn own(places: &Places<'_>) -> Result<Table> {
    let mut config = Table::new();
    config.insert("listen".into(), table([("port", Value::Integer(960))]));
    config.insert(
        "capture".into(),
        table([
            ("cgroup", text(places.cgroup)?),
            ("pin", text(places.pin)?),
            // A daemon that stops leaves its clients without a way to the endpoints, as on a real host.
            ("detach_on_exit", Value::Boolean(false)),
        ]),
    );
    config.insert("upstream".into(), table([("roots", Value::Array(vec![text(places.roots)?]))]));
    config.insert(
        "audit".into(),
        table([("durability", "power".into()), ("auditors", Value::Array(vec![text(places.auditor)?]))]),
    );
    let endpoints = ENROLLED.iter().map(|server| {
        table([
            ("provider", server.provider.into()),
            ("names", Value::Array(vec![server.name.into()])),
            ("ports", Value::Array(vec![i64::from(PORT).into()])),
            ("addresses", addresses(server.name)),
        ])
    });
    config.insert("endpoint".into(), Value::Array(endpoints.collect()));
    Ok(config)
}

/// What is wrong with it the daemon says, as of any other setting.
fn set_transport(config: &mut Table, transport: &str) {
    let listen = config.entry("listen").or_insert_with(|| Value::Table(Table::new()));
    if let Some(listen) = listen.as_table_mut() {
        listen.insert("transport".into(), transport.into());
    }
}

fn lay_over(config: &mut Table, overrides: Table) -> Result<()> {
    for (key, value) in overrides {
        match (key.as_str(), config.get_mut(&key), value) {
            ("endpoint", Some(Value::Array(ours)), Value::Array(theirs)) => lay_endpoints(ours, theirs)?,
            ("roots", Some(Value::Array(ours)), Value::Array(theirs)) => ours.extend(theirs),
            (_, Some(Value::Table(ours)), Value::Table(theirs)) => lay_over(ours, theirs)?,
            (_, _, value) => {
                config.insert(key, value);
            }
        }
    }
    Ok(())
}

fn lay_endpoints(ours: &mut Vec<Value>, theirs: Vec<Value>) -> Result<()> {
    for mut endpoint in theirs {
        let Some(fields) = endpoint.as_table_mut() else { bail!("`endpoint` is an array of tables: [[endpoint]]") };
        let names = names_of(fields);
        ours.retain(|other| !other.as_table().is_some_and(|other| names_of(other).iter().any(|n| names.contains(n))));
        if !fields.contains_key("addresses") {
            let known = names.iter().flat_map(|name| match addresses(name) {
                Value::Array(found) => found,
                _ => Vec::new(),
            });
            fields.insert("addresses".into(), Value::Array(known.collect()));
        }
        ours.push(endpoint);
    }
    Ok(())
}

fn names_of(endpoint: &Table) -> Vec<String> {
    let names = endpoint.get("names").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The lab's addresses of a name; none for a name the lab does not have.
fn addresses(name: &str) -> Value {
    let known = ENROLLED.iter().filter(|server| server.name == name);
    Value::Array(known.flat_map(|server| [server.v4.to_string().into(), server.v6.to_string().into()]).collect())
}

fn table<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Table(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(path: &Path) -> Result<Value> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8, as TOML has to be", path.display()))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(user: &str) -> Table {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), user).unwrap();
        let places = Places {
            cgroup: Path::new("/cg"),
            pin: Path::new("/pin"),
            roots: Path::new("/roots.pem"),
            auditor: Path::new("/auditor.pub"),
        };
        render(&places, Some(file.path())).unwrap().parse().unwrap()
    }

    #[test]
    fn keeps_what_the_user_leaves_alone() {
        let config = rendered("[capture]\ndetach_on_exit = true\n[audit]\ndurability = 'process'\n");
        assert_eq!(config["capture"]["detach_on_exit"].as_bool(), Some(true));
        assert_eq!(config["capture"]["cgroup"].as_str(), Some("/cg"));
        assert_eq!(config["audit"]["durability"].as_str(), Some("process"));
        assert_eq!(config["endpoint"].as_array().unwrap().len(), ENROLLED.len());
    }

    #[test]
    fn replaces_an_endpoint_by_name_and_fills_in_its_addresses() {
        let config = rendered("[[endpoint]]\nprovider = 'anthropic'\nnames = ['api.openai.com']\nports = [443]\n");
        let endpoints = config["endpoint"].as_array().unwrap();
        assert_eq!(endpoints.len(), ENROLLED.len());
        let replaced = endpoints.last().unwrap();
        assert_eq!(replaced["provider"].as_str(), Some("anthropic"));
        assert_eq!(replaced["addresses"][0].as_str(), Some("203.0.113.10"));
        assert_eq!(replaced["addresses"][1].as_str(), Some("2001:db8::10"));
    }

    #[test]
    fn the_transport_of_a_run_wins_over_the_users() {
        let mut config = rendered("[listen]\ntransport = 'io-uring'\n");
        assert_eq!(config["listen"]["transport"].as_str(), Some("io-uring"));
        set_transport(&mut config, "epoll");
        assert_eq!(config["listen"]["transport"].as_str(), Some("epoll"));
        assert_eq!(config["listen"]["port"].as_integer(), Some(960));
    }

    #[test]
    fn adds_roots_to_the_one_it_cannot_do_without() {
        let config = rendered("[upstream]\nroots = ['mine.pem']\n");
        let roots: Vec<_> = config["upstream"]["roots"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(roots, ["/roots.pem", "mine.pem"]);
    }
}
