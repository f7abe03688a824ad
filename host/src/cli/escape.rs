//! Text that others wrote, made safe to print.
//!
//! Messages of guests, names in the database and answers of servers end on somebody's terminal. Printed as they are,
//! they could send escape sequences to it (clear the screen, change its title, answer as if typed), overwrite a line
//! with a carriage return, or look like lines of the host by means of a newline. So every such character is shown, not
//! sent. This module knows nothing about who prints what.

use std::fmt::Write;

/// Appends `text` to `out` on one line: control characters, line breaks among them, appear as `\n`, `\u{1b}` ….
pub(crate) fn push_line(out: &mut String, text: &str) {
    for character in text.chars() {
        if is_hazard(character) {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
    }
}

/// `text` on one line, with its control characters shown.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_line(&mut out, text);
    out
}

/// Appends `text` to `out`; its further lines are indented by `indent`, so that none of them can pass for a line of its
/// own. A trailing line break is dropped, tabs stay.
pub(crate) fn push_block(out: &mut String, text: &str, indent: &str) {
    for (index, line) in text.trim_end_matches(['\n', '\r']).lines().enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(indent);
        }
        for (index, part) in line.split('\t').enumerate() {
            if index > 0 {
                out.push('\t');
            }
            push_line(out, part);
        }
    }
}

/// Control characters (C0, DEL, C1), the line separators of Unicode, and the marks that change the direction of the
/// text after them, by which one line can be made to look like another.
pub(crate) fn is_hazard(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> String {
        let mut out = String::new();
        push_block(&mut out, text, "  ");
        out
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        assert_eq!(line("Grüße an Mike, 你好 \\ \"q\""), "Grüße an Mike, 你好 \\ \"q\"");
    }

    #[test]
    fn escape_sequences_are_shown() {
        assert_eq!(line("\x1b[2Jgone\x07"), "\\u{1b}[2Jgone\\u{7}");
        assert_eq!(line("a\u{9b}2J\u{7f}"), "a\\u{9b}2J\\u{7f}");
        assert_eq!(line("a\r\nb\tc"), "a\\r\\nb\\tc");
    }

    #[test]
    fn text_cannot_change_its_direction() {
        assert_eq!(line("a\u{202e}b\u{2066}c\u{2028}"), "a\\u{202e}b\\u{2066}c\\u{2028}");
    }

    #[test]
    fn further_lines_of_a_block_are_indented() {
        assert_eq!(block("one\ntwo\r\n\nthree\n\n"), "one\n  two\n  \n  three");
        assert_eq!(block("a\tb\rc"), "a\tb\\rc");
        assert_eq!(block(""), "");
    }
}
