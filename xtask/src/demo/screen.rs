//! Aligned text for a terminal of 100 columns, in colour only there.
#![expect(clippy::print_stdout, reason = "what the demo shows is its output")]

use std::io::IsTerminal as _;

/// The width everything is laid out for.
const WIDTH: usize = 98;

/// Between two columns.
const GAP: usize = 2;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const DIM: &str = "2";

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    colour: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn title(&self, text: &str) {
        println!("\n{}", self.paint(BOLD, text));
        println!("{}", self.paint(DIM, &"─".repeat(WIDTH)));
    }

    pub(super) fn line(&self, text: &str) {
        if let Some(comment) = text.strip_prefix("# ") {
            println!("{}", self.paint(DIM, &format!("# {comment}")));
        } else {
            println!("{text}");
        }
    }

    /// A claim, and whether it holds.
    pub(super) fn claim(&self, claim: &str, holds: bool) {
        let mark = if holds { self.paint(GREEN, "yes") } else { self.paint(RED, "NO ") };
        println!("{mark}  {claim}");
    }

    /// Names and values, the values aligned; a value may have several lines.
    pub(super) fn fields(&self, fields: &[(&str, String)]) {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + GAP;
        for (name, value) in fields {
            for (index, line) in wrap(value, WIDTH - width).iter().enumerate() {
                let name = if index == 0 { name } else { "" };
                println!("{}{line}", self.paint(DIM, &format!("{name:width$}")));
            }
        }
    }

    /// Texts side by side; `planted` values stand out, and so do the tokens that stand for them.
    pub(super) fn columns<const N: usize>(&self, heads: &[&str; N], texts: &[String; N], planted: &[&str]) {
        let width = (WIDTH - GAP * (N - 1)) / N;
        let columns: Vec<Vec<String>> = texts.iter().map(|text| wrap(text, width)).collect();
        let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
        let row = |cells: Vec<(String, usize)>| {
            let padded = cells.into_iter().map(|(cell, length)| cell + &" ".repeat(width.saturating_sub(length) + GAP));
            println!("{}", padded.collect::<String>().trim_end());
        };
        println!();
        row(heads.iter().map(|head| (self.paint(BOLD, head), head.chars().count())).collect());
        for index in 0..rows {
            let cell = |column: &Vec<String>| {
                let text = column.get(index).map_or("", String::as_str);
                (self.highlight(text, planted), text.chars().count())
            };
            row(columns.iter().map(cell).collect());
        }
    }

    fn highlight(&self, text: &str, planted: &[&str]) -> String {
        let mut shown = text.to_owned();
        for value in planted {
            shown = shown.replace(value, &self.paint(RED, value));
        }
        let Some(start) = shown.find('[').filter(|_| !shown.contains('\x1b')) else { return shown };
        let Some(end) = shown[start..].find(']').map(|end| start + end + 1) else { return shown };
        format!("{}{}{}", &shown[..start], self.paint(GREEN, &shown[start..end]), &shown[end..])
    }
}

/// Breaks a text into lines of at most `width` characters: at its own line ends, then at blanks, then anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        let mut length = 0;
        for word in paragraph.split(' ') {
            let size = word.chars().count();
            if length > 0 && length + 1 + size > width {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            for character in word.chars() {
                if length == width {
                    lines.push(std::mem::take(&mut line));
                    length = 0;
                }
                line.push(character);
                length += 1;
            }
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_line_ends_blanks_and_then_anywhere() {
        assert_eq!(wrap("a bb ccc\nd", 4), ["a bb", "ccc", "d"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn marks_values_and_tokens_only_in_colour() {
        let plain = Screen { colour: false };
        assert_eq!(plain.highlight("Card: [CARD_k7q2m9xd]", &["4111"]), "Card: [CARD_k7q2m9xd]");
        let coloured = Screen { colour: true };
        assert_eq!(coloured.highlight("Card: [CARD_k7q2m9xd].", &[]), "Card: \x1b[32m[CARD_k7q2m9xd]\x1b[0m.");
        assert_eq!(coloured.highlight("no 4111", &["4111"]), "no \x1b[31m4111\x1b[0m");
    }
}
