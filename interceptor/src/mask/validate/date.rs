//! Dates as they are written.

use super::checksum::is_date;

/// A day that exists, its parts in any of the usual orders: year first, or last with month and day either way. A month
/// by name with a day or a year is enough.
pub(super) fn date(value: &[u8]) -> bool {
    // A time of day begins three bytes before its first colon.
    let day = value.iter().position(|&b| b == b':').map_or(value, |colon| &value[..colon.saturating_sub(3)]);
    let parts: Vec<&[u8]> = day.split(|b| !b.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let number = |part: &[u8]| std::str::from_utf8(part).ok().and_then(|text| text.parse::<u32>().ok());
    match parts[..] {
        [year, first, second] if year.len() == 4 => {
            is_year(number(year)) && number(first).zip(number(second)).is_some_and(|(m, d)| is_date(m, d))
        }
        [first, second, year] => {
            let year_holds = year.len() == 2 || is_year(number(year));
            let (first, second) = (number(first), month(second).or_else(|| number(second)));
            year_holds && first.zip(second).is_some_and(|(a, b)| is_date(a, b) || is_date(b, a))
        }
        [first, second] => match (month(first), month(second)) {
            (Some(_), None) => second.len() == 2 || is_year(number(second)),
            (None, Some(month)) => number(first).is_some_and(|day| is_date(month, day)),
            _ => false,
        },
        _ => false,
    }
}

fn is_year(year: Option<u32>) -> bool {
    year.is_some_and(|year| (1900..2100).contains(&year))
}

/// The month that `name` begins like: `Mar`, `march`.
fn month(name: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let start = name.get(..3)?.to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, month)| *month == start).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_exist_in_one_order_or_the_other() {
        for good in
            ["2024-02-29", "4-23-2018", "23/4/2018", "23.04.2018", "04/23/18", "3-Mar-1999", "Apr-2018", "21-MAY"]
        {
            assert!(date(good.as_bytes()), "{good}");
        }
        assert!(date(b"2019-07-08T14:30:00Z") && date(b"2019-07-08t14:30"));
        for bad in ["2024-02-30", "23-23-2018", "1-1-1066", "Foo-2018", "2024-13-01T00:00", "1.2", "31-Apr"] {
            assert!(!date(bad.as_bytes()), "{bad}");
        }
    }
}
