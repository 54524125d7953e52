//! Dates as they are written.

use super::checksum::is_date;

/// A day that exists, its parts in any of the usual orders: year first, or last with month and day either way. A month
/// by name and a year are enough.
pub(super) fn date(value: &[u8]) -> bool {
    let time = value.iter().position(|b| matches!(b, b'T' | b't') && value.len() > 10);
    let day = &value[..time.filter(|&at| at >= 8).unwrap_or(value.len())];
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
        [name, year] => month(name).is_some() && is_year(number(year)),
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
    let name = name.get(..3)?.to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, month)| *month == name).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_exist_in_one_order_or_the_other() {
        for good in ["2024-02-29", "5-20-2021", "20/5/2021", "21.05.2021", "05/21/21", "3-Mar-1999", "May-2021"] {
            assert!(date(good.as_bytes()), "{good}");
        }
        assert!(date(b"2024-03-15T14:30:00Z") && date(b"2024-03-15t14:30"));
        for bad in ["2024-02-30", "20-20-2021", "1-1-1066", "Foo-2021", "2024-13-01T00:00", "1.2"] {
            assert!(!date(bad.as_bytes()), "{bad}");
        }
    }
}
