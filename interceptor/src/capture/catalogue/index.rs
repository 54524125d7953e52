//! Which endpoints have a name: exact names by hash, wildcard names by hash of what stands behind their last wildcard.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use super::pattern::NamePattern;

/// Names to the numbers of endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By [`NamePattern::literal_suffix`], the most literal first.
    wildcards: HashMap<Box<str>, Vec<(NamePattern, usize)>>,
}

impl Index {
    /// Of equal names, the one that comes first wins.
    pub(super) fn new<'a>(names: impl IntoIterator<Item = (&'a NamePattern, usize)>) -> Self {
        let mut index = Self::default();
        for (name, endpoint) in names {
            if name.is_wildcard() {
                let bucket = index.wildcards.entry(name.literal_suffix().into()).or_default();
                bucket.push((name.clone(), endpoint));
            } else {
                index.exact.entry(name.as_str().into()).or_default().push(endpoint);
            }
        }
        for bucket in index.wildcards.values_mut() {
            // Stable: the order of configuration decides between equals.
            bucket.sort_by_key(|(name, _)| Reverse(name.literals()));
        }
        index
    }

    /// The endpoints whose names `name` is, the most specific first: exact names, then wildcards by the length of
    /// their literal suffix, then by literal characters. `name` is in lower case, without a final dot.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let exact = self.exact.get(name).into_iter().flatten().copied();
        let suffixes = name.match_indices('.').map(move |(dot, _)| &name[dot + 1..]);
        let wild = suffixes
            .filter_map(|suffix| self.wildcards.get(suffix))
            .flatten()
            .filter(move |(pattern, _)| pattern.matches(name))
            .map(|&(_, endpoint)| endpoint);
        exact.chain(wild)
    }
}

/// A name as clients and resolvers spell it, in the form of the catalogue: lower case, without the final dot.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, character by character: a star takes one or more characters other than the dot.
    fn matches_naively(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), Some((first, tail))) if *first != b'.' => {
                matches_naively(rest, tail) || matches_naively(pattern, tail)
            }
            (Some((b'*', _)), _) => false,
            (Some((a, rest)), Some((b, tail))) => a == b && matches_naively(rest, tail),
            _ => false,
        }
    }

    fn best_naively(patterns: &[NamePattern], name: &str) -> Option<usize> {
        let matching = patterns.iter().enumerate();
        let matching = matching.filter(|(_, pattern)| matches_naively(pattern.as_str().as_bytes(), name.as_bytes()));
        let rank = |(number, pattern): &(usize, &NamePattern)| {
            (pattern.is_wildcard(), Reverse(pattern.literal_suffix().len()), Reverse(pattern.literals()), *number)
        };
        matching.min_by_key(rank).map(|(number, _)| number)
    }

    proptest! {
        // Few letters and labels, so that most names match something.
        #[test]
        fn finds_what_a_naive_matcher_finds(
            texts in prop::collection::vec("([ab*]{1,2}\\.){0,3}[ab]\\.[ab]", 1..30),
            names in prop::collection::vec("([ab]{1,3}\\.){0,4}[ab]", 1..30),
        ) {
            let patterns: Vec<NamePattern> = texts.iter().filter_map(|text| text.parse().ok()).collect();
            let index = Index::new(patterns.iter().zip(0..));
            for name in &names {
                let mut found: Vec<usize> = index.find(name).collect();
                prop_assert_eq!(found.first().copied(), best_naively(&patterns, name), "{}", name);
                found.sort_unstable();
                let naive: Vec<usize> = (0..patterns.len())
                    .filter(|&number| matches_naively(patterns[number].as_str().as_bytes(), name.as_bytes()))
                    .collect();
                prop_assert_eq!(found, naive, "{}", name);
            }
        }

        #[test]
        fn no_name_upsets_it(name in "\\PC*") {
            let pattern: NamePattern = "*.openai.azure.com".parse().unwrap();
            let index = Index::new([(&pattern, 0)]);
            let name = normal(&name);
            let found = index.find(&name).next().is_some();
            prop_assert_eq!(found, matches_naively(pattern.as_str().as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn case_and_the_final_dot_do_not_count() {
        assert_eq!(normal("API.OpenAI.com."), "api.openai.com");
        assert!(matches!(normal("api.openai.com"), Cow::Borrowed(_)));
    }
}
