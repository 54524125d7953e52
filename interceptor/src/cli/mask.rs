//! `interceptor mask`.

use std::io::{Read, Write};
use std::process::ExitCode;

use bytes::Bytes;

use super::rules::RuleArgs;
use super::{Failure, Global, tokens};
use crate::flow::{Access, Action, ExchangeId, Field, Form, OffsetMap, Provider};
use crate::mask::{Orders, Scanner, TokenKey, rewrite};
use crate::wire::{Operation, locate};

/// Longest text that is read: what the proxy takes, twice.
const LONGEST_TEXT: u64 = 64 << 20;

/// Arguments of `interceptor mask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads a text, or with --provider a request body, from standard input and writes it with every sensitive value replaced by
a token such as [EMAIL_k7q2m9xh]. Equal values have equal tokens under one key.

The key is that of the state directory, so tokens are those of the audit log; where there is none, a key for this run
alone is drawn.

Examples:
  echo 'mail jane@corp.example' | interceptor mask
  interceptor mask --state /var/lib/interceptor < prompt.txt
  interceptor mask --provider openai --path /v1/chat/completions < request.json")]
pub(crate) struct Args {
    /// Read a request body of this provider: openai, anthropic
    #[arg(long, value_name = "P", value_parser = provider)]
    provider: Option<Provider>,
    /// Path of the request [default: the provider's main one]
    #[arg(long, value_name = "PATH", requires = "provider")]
    path: Option<String>,
    /// What stands in place of a value: mask (a token), surrogate, label, partial, drop
    #[arg(long, value_name = "HOW", default_value = "mask", value_parser = replacing)]
    replace: Action,
    #[command(flatten)]
    rules: RuleArgs,
}

fn provider(name: &str) -> Result<Provider, String> {
    [Provider::OpenAi, Provider::Anthropic]
        .into_iter()
        .find(|provider| provider.as_str() == name)
        .ok_or_else(|| "expected openai or anthropic".to_owned())
}

/// As policy spells them.
fn replacing(name: &str) -> Result<Action, String> {
    [Action::Mask, Action::Surrogate, Action::Label, Action::Partial, Action::Drop]
        .into_iter()
        .find(|action| action.to_string() == name)
        .ok_or_else(|| "expected mask, surrogate, label, partial or drop".to_owned())
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_TEXT + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}; `mask` reads UTF-8 text"))?;
    if text.len() as u64 > LONGEST_TEXT {
        return Err(format!("standard input is longer than {LONGEST_TEXT} bytes; split the text").into());
    }
    let paths = global.paths()?;
    let makes_tokens = matches!(args.replace, Action::Mask | Action::Surrogate);
    let kept = if makes_tokens { tokens::read(&paths)? } else { None };
    let are_of_this_run = makes_tokens && kept.is_none();
    let tokens = kept.map_or_else(tokens::of_this_run, Ok)?;
    let mut scanner = args.rules.engine(global)?.scanner()?;
    let key = tokens.current();
    let masked = match args.provider {
        None => mask_text(&mut scanner, &text, args.replace, &key)?,
        Some(provider) => mask_body(&mut scanner, provider, args.path.as_deref(), &text.into(), args.replace, &key)?,
    };
    if are_of_this_run {
        eprintln!("interceptor: no token key in {}: the tokens are of this run alone", paths.keys().display());
    }
    std::io::stdout().lock().write_all(&masked)?;
    Ok(ExitCode::SUCCESS)
}

fn mask_text(scanner: &mut Scanner, text: &str, action: Action, key: &TokenKey) -> Result<Bytes, Failure> {
    let field = Field {
        path: "text".to_owned(),
        map: OffsetMap::identity(0, text.len()),
        text: text.into(),
        form: Form::String { depth: 0 },
        access: Access::Editable,
        name: None,
    };
    mask_fields(scanner, Bytes::copy_from_slice(text.as_bytes()), &[field], action, key)
}

fn mask_body(
    scanner: &mut Scanner,
    provider: Provider,
    path: Option<&str>,
    body: &Bytes,
    action: Action,
    key: &TokenKey,
) -> Result<Bytes, Failure> {
    let path = path.unwrap_or(if provider == Provider::Anthropic { "/v1/messages" } else { "/v1/chat/completions" });
    let operation = Operation::of(provider, "POST", path);
    if operation == Operation::Unknown {
        return Err(format!("the text of {provider}'s POST {path} cannot be located yet").into());
    }
    let document = locate(operation, body).map_err(|e| format!("standard input: {e}"))?;
    mask_fields(scanner, body.clone(), &document.fields, action, key)
}

fn mask_fields(
    scanner: &mut Scanner,
    body: Bytes,
    fields: &[Field<'_>],
    action: Action,
    key: &TokenKey,
) -> Result<Bytes, Failure> {
    let mut found = scanner.scan_fields(fields)?;
    found.retain(|located| !located.finding.rule.report_only);
    let actions = vec![action; found.len()];
    let orders = Orders { actions: &actions, restore: &[] };
    Ok(rewrite(ExchangeId::new(), body, fields, &found, orders, key, scanner)?.body().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Engine;

    fn scanner() -> Scanner {
        Engine::builtin().unwrap().scanner().unwrap()
    }

    #[test]
    fn text_around_values_is_kept() {
        let key = TokenKey::from_bytes([3; 32]);
        let masked = mask_text(&mut scanner(), "Mail jane@corp.example,\nnow.\n", Action::Mask, &key).unwrap();
        let masked = std::str::from_utf8(&masked).unwrap();
        assert!(masked.starts_with("Mail [EMAIL_") && masked.ends_with("],\nnow.\n"), "{masked}");
    }

    #[test]
    fn a_body_is_patched_in_place() {
        let key = TokenKey::from_bytes([3; 32]);
        let body = br#"{ "model":"m","messages":[{"role":"user", "content":"jane@corp\u002eexample"}] }"#;
        let body = Bytes::from_static(body);
        let masked = mask_body(&mut scanner(), Provider::OpenAi, None, &body, Action::Mask, &key).unwrap();
        let masked = std::str::from_utf8(&masked).unwrap();
        assert!(masked.starts_with(r#"{ "model":"m","messages":[{"role":"user", "content":"[EMAIL_"#), "{masked}");
        assert!(masked.ends_with(r#"]"}] }"#), "{masked}");
    }
}
