//! What somebody may have meant by a name that there is not.

/// Names that are shown.
const SHOWN: usize = 3;

/// Those of `known` that are most like `given`: `CREDIT_CARD or CREDIT_NOTE`. None when none is like it.
pub(super) fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let given = letters(given);
    let tolerated = (given.len() / 3).min(4);
    let distances = known.into_iter().map(|name| (distance(&given, &letters(name)), name));
    let mut near: Vec<_> = distances.filter(|(distance, _)| *distance <= tolerated).collect();
    near.sort_unstable();
    // Nothing that is further off than it must be.
    let least = near.first()?.0;
    let names: Vec<_> = near.iter().filter(|(distance, _)| *distance <= least + 1).map(|(_, name)| *name).collect();
    Some(names[..names.len().min(SHOWN)].join(" or "))
}

/// What people get wrong least: neither case nor what stands between words.
fn letters(name: &str) -> Vec<char> {
    name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect()
}

/// How many characters have to be added, left out or changed.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_nothing_else_is_offered() {
        let known = ["CREDIT_CARD", "EMAIL_ADDRESS", "US_SSN", "US_ITIN", "SECRET_AWS_KEY"];
        let of = |given| nearest(given, known);
        assert_eq!(of("CREDITCARD").as_deref(), Some("CREDIT_CARD"));
        assert_eq!(of("credit-crad").as_deref(), Some("CREDIT_CARD"));
        assert_eq!(of("EMAIL_ADRESS").as_deref(), Some("EMAIL_ADDRESS"));
        assert_eq!(of("WEATHER"), None);
        assert_eq!(of(""), None);
    }
}
