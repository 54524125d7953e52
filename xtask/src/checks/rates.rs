//! Figures by engine and text, as a table that one can read as it is and put into a document.

use std::fmt::Write as _;

/// GB/s. Rows and columns are in the order in which they came.
#[derive(Default)]
pub(super) struct Rates {
    engines: Vec<String>,
    texts: Vec<String>,
    /// (engine, text, what was measured); nothing when that failed.
    figures: Vec<(usize, usize, Option<f64>)>,
}

impl Rates {
    pub(super) fn add(&mut self, engine: &str, text: &str, rate: Option<f64>) {
        let (engine, text) = (index(&mut self.engines, engine), index(&mut self.texts, text));
        self.figures.push((engine, text, rate));
    }

    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The table, each figure with its ratio to the row `ceiling`.
    pub(super) fn table(&self, ceiling: &str) -> String {
        let ceiling = self.engines.iter().position(|engine| engine == ceiling);
        let head = std::iter::once("engine".to_owned()).chain(self.texts.iter().cloned()).collect();
        let rows = self.engines.iter().enumerate().map(|(engine, name)| {
            let cells = (0..self.texts.len()).map(|text| self.cell(engine, text, ceiling));
            std::iter::once(name.clone()).chain(cells).collect()
        });
        aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
    }

    fn cell(&self, engine: usize, text: usize, ceiling: Option<usize>) -> String {
        match self.figure(engine, text) {
            None => String::new(),
            Some(None) => "failed".to_owned(),
            Some(Some(rate)) => match ceiling.and_then(|ceiling| self.figure(ceiling, text)).flatten() {
                Some(ceiling) => format!("{} ({})", significant(rate), significant(rate / ceiling)),
                None => significant(rate),
            },
        }
    }

    fn figure(&self, engine: usize, text: usize) -> Option<Option<f64>> {
        self.figures.iter().find(|figure| (figure.0, figure.1) == (engine, text)).map(|figure| figure.2)
    }
}

fn index(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// Two decimals, or as many as two figures take.
fn significant(value: f64) -> String {
    let decimals = if value > 0.0 { (1.0 - value.log10().floor()).clamp(2.0, 9.0) } else { 2.0 };
    format!("{value:.*}", decimals as usize)
}

/// In Markdown, columns below each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut table = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(table, "| {cell:width$} ");
        }
        table.push_str("|\n");
        if at == 0 {
            widths.iter().for_each(|width| table.extend(["|", &"-".repeat(width + 2)]));
            table.push_str("|\n");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_rates_ratios_and_what_failed() {
        let mut rates = Rates::default();
        rates.add("ceiling", "a", Some(0.8));
        rates.add("slow", "a", Some(0.000_16));
        rates.add("slow", "b", None);
        let table = "\
| engine  | a                 | b      |
|---------|-------------------|--------|
| ceiling | 0.80 (1.00)       |        |
| slow    | 0.00016 (0.00020) | failed |
";
        assert_eq!(rates.table("ceiling"), table);
    }
}
