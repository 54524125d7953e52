//! What rules cost: the throughput that a set loses by them, on one core and ordinary text.
//!
//! Both sets scan in turn within one run, each is judged by its fastest pass, and the smallest of some such comparisons
//! counts: other load on the machine can only make a set look slower than it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::RuleCache;
use crate::mask::{DatabaseCache, Engine, Error, Fault, Loaded, Mistake, SAMPLE, Scanner};

/// Scans of the sample in one pass, and passes of each set in one comparison.
const SCANS: usize = 8;
const PASSES: usize = 25;
/// Comparisons of what looks slow.
const COMPARISONS: usize = 4;

/// The rules of `engine` that do not come with the program and cost more than `limit` per cent each, unless their files
/// accept that.
pub(super) fn refused(engine: &Arc<Engine>, limit: u32, cache: Option<RuleCache>) -> Result<Vec<Mistake>, Error> {
    let suspects: Vec<usize> = own(engine).filter(|(_, rule)| !rule.allow_slow).map(|(index, _)| index).collect();
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let (base, limit) = (only(engine, &[], cache)?, f64::from(limit));
    // All together: nearly always that is all there is to measure.
    if Comparison::of(&base, engine, limit)?.cost() <= limit {
        return Ok(Vec::new());
    }
    let mut search = Search { engine, limit, base, refused: Vec::new() };
    search.among(&suspects)?;
    Ok(search.refused)
}

/// The rules that do not come with the program, with their indices.
pub(super) fn own(engine: &Engine) -> impl Iterator<Item = (usize, Loaded<'_>)> {
    engine.loaded().enumerate().filter(|(_, rule)| !rule.builtin)
}

struct Search<'e> {
    engine: &'e Engine,
    limit: f64,
    base: Arc<Engine>,
    refused: Vec<Mistake>,
}

impl Search<'_> {
    /// Finds the slow ones of `suspects` by halves: compiling a set takes longer than measuring it.
    fn among(&mut self, suspects: &[usize]) -> Result<(), Error> {
        if suspects.is_empty() {
            return Ok(());
        }
        let cost = Comparison::of(&self.base, &only(self.engine, suspects, None)?, self.limit)?.cost();
        match suspects {
            _ if cost <= self.limit => Ok(()),
            [one] => {
                let fault = Fault::Slow { cost: percent(cost), limit: percent(self.limit) };
                self.refused.extend(self.engine.loaded().nth(*one).map(|rule| rule.mistake(fault)));
                Ok(())
            }
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                self.among(left)?;
                self.among(right)
            }
        }
    }
}

/// The built-in rules of `engine`, and those of its others that `wanted` names.
pub(super) fn only(engine: &Engine, wanted: &[usize], mut cache: Option<RuleCache>) -> Result<Arc<Engine>, Error> {
    let mut index = 0..;
    let cache = cache.as_mut().map(|cache| cache as &mut dyn DatabaseCache);
    engine.only(|rule| index.next().is_some_and(|index| rule.builtin || wanted.contains(&index)), cache)
}

/// Two sets over the same text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison {
    without: Duration,
    with: Duration,
}

impl Comparison {
    /// Compares a set without some rules and one with them; once, when the cost is clearly at most `limit` per cent.
    pub(super) fn of(without: &Arc<Engine>, with: &Arc<Engine>, limit: f64) -> Result<Self, Error> {
        let (mut without, mut with) = (without.scanner()?, with.scanner()?);
        let mut best = Self::once(&mut without, &mut with)?;
        for _ in 1..COMPARISONS {
            if best.cost() <= limit {
                break;
            }
            let next = Self::once(&mut without, &mut with)?;
            best = if next.cost() < best.cost() { next } else { best };
        }
        Ok(best)
    }

    fn once(without: &mut Scanner, with: &mut Scanner) -> Result<Self, Error> {
        let mut best = Self { without: Duration::MAX, with: Duration::MAX };
        for _ in 0..PASSES {
            best.without = best.without.min(pass(without)?);
            best.with = best.with.min(pass(with)?);
        }
        Ok(best)
    }

    /// The share of the throughput that is lost, in per cent; 0 when there is a gain.
    pub(super) fn cost(&self) -> f64 {
        (1.0 - self.without.as_secs_f64() / self.with.as_secs_f64().max(f64::MIN_POSITIVE)).max(0.0) * 100.0
    }

    /// MB/s without and with them.
    pub(super) fn throughput(&self) -> (f64, f64) {
        let bytes = (SCANS * SAMPLE.len()) as f64 / 1e6;
        (bytes / self.without.as_secs_f64(), bytes / self.with.as_secs_f64())
    }
}

fn pass(scanner: &mut Scanner) -> Result<Duration, Error> {
    let mut found = Vec::new();
    let started = Instant::now();
    for _ in 0..SCANS {
        found.clear();
        scanner.scan(SAMPLE, &mut found)?;
    }
    Ok(started.elapsed())
}

/// A share as it is told.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
pub(super) fn percent(share: f64) -> u32 {
    share.clamp(0.0, 100.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_holds_nothing_that_the_built_in_rules_replace() {
        let mut found = Vec::new();
        Engine::builtin().unwrap().scanner().unwrap().scan(SAMPLE, &mut found).unwrap();
        found.retain(|finding| !finding.rule.report_only);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_set_costs_nothing_more_than_itself() {
        let engine = Engine::builtin().unwrap();
        let cost = Comparison::of(&engine, &engine, 5.0).unwrap().cost();
        assert!((0.0..=25.0).contains(&cost), "{cost}");
    }

    #[test]
    fn costs_are_shares_of_the_throughput() {
        let ms = Duration::from_millis;
        let cost = |without, with| Comparison { without: ms(without), with: ms(with) }.cost();
        assert!((cost(1, 2) - 50.0).abs() < 1e-9 && cost(2, 1) == 0.0 && cost(1, 1) == 0.0);
    }
}
