//! Numbers and addresses, looked for wherever they may begin.

use super::Look;
use crate::mask::classes::Token;
use crate::mask::phone::Written;
use crate::mask::picture::{Cell, Picture};
use crate::mask::rules::{Address, Rule, Source};
use crate::mask::{Error, extent};

/// Of more, nobody counts on.
const MOST_BACKSLASHES: usize = 16;
/// The groups of letters and digits that a network card's address has.
const CARDS: [(Address, usize); 2] = [(Address::Mac, 2), (Address::MacDotted, 4)];

impl Look<'_> {
    pub(super) fn numbers(&mut self) -> Result<(), Error> {
        let text = self.view.text;
        for start in 0..text.len() {
            self.pictures(start, |_| true)?;
            self.network_card(start)?;
        }
        for token in tokens(text) {
            if token.digits {
                self.phone(token.span.start)?;
            }
            self.address(&token)?;
        }
        Ok(())
    }

    /// All pictures of the rules that `which` names, as they fit at `start`.
    pub(super) fn pictures(&mut self, start: usize, which: impl Fn(&Rule) -> bool) -> Result<(), Error> {
        let text = self.view.text;
        for (index, _) in (0u32..).zip(self.view.engine.rules()) {
            let rule = self.view.engine.rule(index);
            let Source::Pictures { pictures, verify, extend } = &rule.source else { continue };
            for mut end in pictures.iter().filter(|_| which(rule)).filter_map(|picture| fit(picture, text, start)) {
                if let Some(extend) = extend {
                    let rest = &text[end..text.len().min(end + rule.reach)];
                    end += extend.find(rest).map_or(0, |m| m.end());
                }
                let value = &text[start..end];
                if verify.as_ref().is_some_and(|v| v.find(value).is_none_or(|m| m.end() < value.len())) {
                    continue;
                }
                let is_free = self.view.edge_is_free(rule, start) || self.view.is_glued(rule, &(start..end));
                if is_free && !self.view.number_goes_on(start, end) {
                    self.propose(index, start..end)?;
                }
            }
        }
        Ok(())
    }

    /// A telephone number whose first digits are at `first`.
    fn phone(&mut self, first: usize) -> Result<(), Error> {
        let text = self.view.text;
        let is_middle = matches!(text[..first], [.., b'0'..=b'9', b'-' | b'.' | b'/']);
        let Some(written) = Written::read(text, first).filter(|_| !is_middle) else { return Ok(()) };
        for &(index, plan) in self.view.engine.phones() {
            if let Some(end) = written.end(plan)
                && !self.view.number_goes_on(written.start, end)
            {
                self.propose(index, written.start..end)?;
            }
        }
        Ok(())
    }

    /// The addresses of hosts around `token`.
    fn address(&mut self, token: &Token) -> Result<(), Error> {
        let text = self.view.text;
        let walks = [(Address::Ipv4, extent::ipv4(text, token)), (Address::Ipv6, extent::ipv6(text, token, &mut 0))];
        for (kind, walk) in walks {
            if let Some(span) = walk.span {
                self.address_at(kind, span)?;
            }
        }
        Ok(())
    }

    fn network_card(&mut self, start: usize) -> Result<(), Error> {
        for (kind, group) in CARDS {
            let end = start + 12 + 12 / group - 1;
            if self.view.text.get(start..end).is_some_and(|text| extent::is_mac(text, group)) {
                self.address_at(kind, start..end)?;
            }
        }
        Ok(())
    }

    fn address_at(&mut self, kind: Address, span: std::ops::Range<usize>) -> Result<(), Error> {
        for &(index, of) in self.view.engine.addresses() {
            if of == kind && self.view.edge_is_free(self.view.engine.rule(index), span.start) {
                self.propose(index, span.clone())?;
            }
        }
        Ok(())
    }
}

/// Letters and digits in a row, with a digit: all that are behind another character, or behind a `\n` of two.
fn tokens(text: &[u8]) -> Vec<Token> {
    let begins = |at: &usize| match text[..*at] {
        [] => true,
        [.., before] if !before.is_ascii_alphanumeric() => true,
        [ref rest @ .., b'n' | b'r' | b't'] => {
            let backslashes = rest.iter().rev().take_while(|b| **b == b'\\').count().min(MOST_BACKSLASHES);
            backslashes % 2 == 1 && text.get(*at).is_some_and(|b| !b.is_ascii_lowercase())
        }
        _ => false,
    };
    let token = |start: usize| {
        let span = start..start + text[start..].iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let digits = text[span.clone()].iter().filter(|b| b.is_ascii_digit()).count();
        (digits > 0).then_some(Token { digits: digits == span.len(), span })
    };
    (0..text.len()).filter(begins).filter_map(token).collect()
}

/// Where `picture` ends if it fits at `start`, with a digit where it may or must have one first.
fn fit(picture: &Picture, text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut separator = None;
    for run in &picture.runs {
        let mut count = 0;
        while count < run.most
            && let Some(&byte) = text.get(at)
            && holds(run.cell, byte, &picture.separators, &mut separator)
        {
            (at, count) = (at + 1, count + 1);
        }
        if count < run.least {
            return None;
        }
    }
    let mut token = text[start + picture.anchor().offset..at].iter().take_while(|b| b.is_ascii_alphanumeric());
    token.any(u8::is_ascii_digit).then_some(at)
}

/// Whether `byte` may stand in `cell`. The first separator is that of the whole picture.
fn holds(cell: Cell, byte: u8, separators: &[u8], separator: &mut Option<u8>) -> bool {
    match cell {
        Cell::Digit => byte.is_ascii_digit(),
        Cell::Upper => byte.is_ascii_uppercase(),
        Cell::Letter => byte.is_ascii_alphabetic(),
        Cell::UpperOrDigit => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        Cell::LetterOrDigit => byte.is_ascii_alphanumeric(),
        Cell::Separator => separators.contains(&byte) && *separator.get_or_insert(byte) == byte,
        Cell::Literal(literal) => byte.eq_ignore_ascii_case(&literal),
    }
}
