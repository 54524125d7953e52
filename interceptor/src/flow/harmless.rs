//! Text from outside, for people to look at.

/// The text with what would drive a terminal, end a line for some, or hide or turn round what stands beside it written
/// as `\u{..}`: a process name must not drive the auditor's terminal.
#[must_use]
pub fn harmless(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if is_hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_hides_is_written_out() {
        assert_eq!(harmless("é\x1b]0;x\u{7}\u{9b}1m"), "é\\u{1b}]0;x\\u{7}\\u{9b}1m");
        for hidden in ['\n', '\u{ad}', '\u{200e}', '\u{202e}', '\u{2028}', '\u{2066}', '\u{feff}'] {
            assert!(!harmless(&format!("a{hidden}b")).contains(hidden), "{hidden:?}");
        }
        assert_eq!(harmless("plain [text] ×2"), "plain [text] ×2");
    }
}
