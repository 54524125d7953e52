//! Values that begin with a token of digits: pictures, telephone numbers, addresses.

use std::ops::Range;

use super::View;
use crate::mask::Error;
use crate::mask::classes::{Token, Window};
use crate::mask::extent;
use crate::mask::fold::Stretches;
use crate::mask::phone::{self, MOST_DIGITS, Plan, Written};
use crate::mask::rules::{Address, Edge, Need, Rule, Source};
use crate::mask::shapes::{LONG_NUMBER, Start};

/// Digits of the first group of a number to which a name may be glued.
const FIRST_GROUP: [usize; 2] = [4, 6];

impl View<'_> {
    /// Compares what is around each digit-bearing token with what may begin there, and tells `stretches` of all of them.
    pub(super) fn numbers(&mut self, stretches: &mut Stretches) -> Result<(), Error> {
        let (text, classes) = (self.text, self.classes);
        classes.each_token(|token| {
            stretches.add(text, &token.span);
            if token.span.end <= self.settled {
                return Ok(());
            }
            self.token(&token)?;
            if is_behind_backslash(text, &token) { self.rest_of(&token) } else { Ok(()) }
        })
    }

    /// Compares what is left of a token behind a break with what may begin there.
    #[cold]
    fn rest_of(&mut self, token: &Token) -> Result<(), Error> {
        self.behind_break(token).map_or(Ok(()), |rest| self.token(&rest))
    }

    /// What is left of a token that begins with the letter of a `\n` written as two characters. In `\new1` and `\ref12`
    /// that letter is of a name.
    pub(super) fn behind_break(&self, token: &Token) -> Option<Token> {
        let span = token.span.start + 1..token.span.end;
        let divides = !token.digits
            && self.text[span.clone()].first().is_some_and(|b| !b.is_ascii_lowercase())
            && extent::ends_in_break(&self.text[..span.start]);
        divides.then(|| Token { digits: self.text[span.clone()].iter().all(u8::is_ascii_digit), span })
    }

    /// Compares what is around a digit-bearing token with the rules' pictures, number plans and addresses.
    #[inline(always)]
    fn token(&mut self, token: &Token) -> Result<(), Error> {
        let start = self.engine.shapes().at(self.text, token);
        if token.span.end + 2 > self.text.len() && token.digits && token.span.len() <= MOST_DIGITS {
            self.hold(token.span.start.saturating_sub(2));
        }
        let Some(start) = start else { return Ok(()) };
        let around = self.classes.around(token.span.start);
        if start.may_begin(&around) { self.start(start, &around, token) } else { Ok(()) }
    }

    /// What may begin at `token`. Apart from the loop over all of them, which is then short.
    #[inline(never)]
    fn start(&mut self, start: &Start, around: &Window, token: &Token) -> Result<(), Error> {
        let unaided = self.is_unaided(token);
        self.pictures(start, unaided, around, token, |_| true)?;
        if start.phone && phone::may_begin(around) {
            self.phone(unaided, &token.span)?;
        }
        if start.ipv4
            && extent::may_be_ipv4(around)
            && let Some(span) = self.walked(extent::ipv4(self.text, token))?
        {
            self.address_at(Address::Ipv4, &span)?;
        }
        if start.ipv6 && extent::may_be_ipv6(around) {
            let walk = extent::ipv6(self.text, token, &mut self.done.ipv6);
            if let Some(span) = self.walked(walk)? {
                self.address_at(Address::Ipv6, &span)?;
            }
        }
        Ok(())
    }

    /// Whether what needs words nearby, or to be alone, need not be looked for at `token`: neither can be. Known in texts
    /// full of numbers, which that spares most of the work.
    fn is_unaided(&self, token: &Token) -> bool {
        let shapes = self.engine.shapes();
        self.trace.is_none()
            && self.ahead.is_none()
            && self.context.is_far(&shapes.reach(token.span.start))
            && !self.lone().may_hold_any(shapes.longest())
    }

    /// The pictures that fit at `token`, which has `start`; in a mixed token, those of its digits to which a name may be
    /// glued.
    pub(super) fn pictures(
        &mut self,
        start: &Start,
        unaided: bool,
        around: &Window,
        token: &Token,
        which: impl Fn(&Rule) -> bool,
    ) -> Result<(), Error> {
        self.shapes(start, unaided, around, token, &which)?;
        if !start.glued {
            return Ok(());
        }
        let (mut from, end) = (token.span.start, token.span.end);
        while from < end {
            let len = self.text[from..end].iter().take_while(|b| b.is_ascii_digit()).count();
            if len >= LONG_NUMBER || (FIRST_GROUP.contains(&len) && from + len == end) {
                let run = Token { span: from..from + len, digits: true };
                if let Some(start) = self.engine.shapes().at(self.text, &run) {
                    let around = self.classes.around(from);
                    self.shapes(start, false, &around, &run, |rule| rule.left == Edge::Glued && which(rule))?;
                }
            }
            from += len + 1;
        }
        Ok(())
    }

    fn shapes(
        &mut self,
        start: &Start,
        unaided: bool,
        around: &Window,
        token: &Token,
        which: impl Fn(&Rule) -> bool,
    ) -> Result<(), Error> {
        if !start.has_pictures(unaided) {
            return Ok(());
        }
        let engine = self.engine;
        for shape in engine.shapes().around(start, unaided, around, self.text[token.span.start]) {
            let Some(start) = token.span.start.checked_sub(shape.offset as usize) else { continue };
            let rule = engine.rule(shape.rule);
            let Source::Pictures { pictures, verify, extend } = &rule.source else { continue };
            let fit = || pictures[shape.picture as usize].fit(self.text, start);
            let Some(mut end) = which(rule).then(fit).flatten() else { continue };
            self.spend(end - start)?;
            if let Some(extend) = extend {
                end += extend.find(self.window(end..end + rule.reach)?).map_or(0, |m| m.end());
            }
            if verify.as_ref().is_some_and(|v| v.find(&self.text[start..end]).is_none_or(|m| m.end() != end - start)) {
                continue;
            }
            self.awaits_edge(rule, &(start..end));
            let is_free = self.edge_is_free(rule, start) || self.is_glued(rule, &(start..end));
            if is_free && !self.number_goes_on(start, end) {
                self.propose(shape.rule, rule, start..end)?;
            }
        }
        Ok(())
    }

    /// Whether a long number stands between names, not within a hexadecimal string: each neighbour is no letter or
    /// digit, or a letter of a name.
    pub(super) fn is_glued(&self, rule: &Rule, span: &Range<usize>) -> bool {
        let digits = || self.text[span.clone()].iter().filter(|b| b.is_ascii_digit()).count();
        if rule.left != Edge::Glued || !(LONG_NUMBER..=LONG_NUMBER + 1).contains(&digits()) {
            return false;
        }
        let is_name = |name: &[u8]| {
            let says_more_than_hex = name.iter().any(|b| !b.is_ascii_hexdigit()) && !name.eq_ignore_ascii_case(b"x");
            says_more_than_hex || rule.words.as_ref().is_some_and(|words| words.contain(name))
        };
        let (before, after) = (&self.text[..span.start], &self.text[span.end..]);
        let letter = |b: &&u8| b.is_ascii_alphabetic();
        let left = before.iter().rev().take(super::LONGEST_NAME).take_while(letter).count();
        let right = after.iter().take(super::LONGEST_NAME).take_while(letter).count();
        let free = |neighbour: Option<&u8>| !neighbour.is_some_and(u8::is_ascii_digit);
        let left_is_free = if left > 0 { is_name(&before[before.len() - left..]) } else { free(before.last()) };
        let right_is_free = if right > 0 { is_name(&after[..right]) } else { free(after.first()) };
        left_is_free && right_is_free
    }

    /// The addresses of network cards, which need not have a digit.
    pub(super) fn network_cards(&mut self) -> Result<(), Error> {
        // Of the one kind those of a block come before those of the other, wherever they stand in it.
        let (classes, mut done, mut done_dotted) = (self.classes, 0, 0);
        for row in classes.joints() {
            for joint in row.threes() {
                self.network_card(Address::Mac, 2, joint, &mut done)?;
            }
            for joint in row.twos() {
                self.network_card(Address::MacDotted, 4, joint, &mut done_dotted)?;
            }
        }
        Ok(())
    }

    /// The address behind whose first `group` is the byte at `joint`. `done`: where the last one of its kind ended.
    fn network_card(&mut self, kind: Address, group: usize, joint: usize, done: &mut usize) -> Result<(), Error> {
        // The first group may end a longer token: `\n00:1B:44:11:3A:B7` with a break written as two characters.
        let Some(start) = joint.checked_sub(group).filter(|start| start >= done) else { return Ok(()) };
        let span = start..start + 12 + 12 / group - 1;
        let goes_on = self.text.get(span.end).is_some_and(u8::is_ascii_alphanumeric);
        let is_mac = !goes_on && self.text.get(span.clone()).is_some_and(|text| extent::is_mac(text, group));
        if !is_mac || span.end <= self.settled {
            return Ok(());
        }
        self.spend(span.len())?;
        *done = span.end;
        self.address_at(kind, &span)
    }

    fn address_at(&mut self, kind: Address, span: &Range<usize>) -> Result<(), Error> {
        let engine = self.engine;
        for &(index, _) in engine.addresses().iter().filter(|&&(_, of)| of == kind) {
            let rule = engine.rule(index);
            if self.edge_is_free(rule, span.start) {
                self.propose(index, rule, span.clone())?;
            }
        }
        Ok(())
    }

    /// Reads a telephone number from its first digits; if it is `unaided`, those of plans that need no words.
    fn phone(&mut self, unaided: bool, group: &Range<usize>) -> Result<(), Error> {
        let first = group.start;
        // The middle of a number was read from its start.
        if matches!(self.text[..first], [.., b'0'..=b'9', b'-' | b'.' | b'/']) {
            return Ok(());
        }
        let (engine, text) = (self.engine, self.text);
        let may_be = |&&(index, plan): &&(u32, Plan)| {
            Written::may_begin_with(text, group, plan) && !(unaided && engine.rule(index).need != Need::Nothing)
        };
        let mut plans = engine.phones().iter().filter(may_be).copied().peekable();
        if plans.peek().is_none() {
            return Ok(());
        }
        self.spend(16)?;
        let Some(written) = Written::read(text, first) else { return Ok(()) };
        let start = written.start;
        for (index, plan) in plans {
            let Some(end) = written.may_be(plan).then(|| written.end(plan)).flatten() else { continue };
            self.awaits(start, end + 2);
            if !self.number_goes_on(start, end) {
                self.propose(index, engine.rule(index), start..end)?;
            }
        }
        Ok(())
    }
}

/// Whether a token may begin with the letter of an escape.
#[inline]
fn is_behind_backslash(text: &[u8], token: &Token) -> bool {
    token.span.start.checked_sub(1).is_some_and(|before| text[before] == b'\\')
}
