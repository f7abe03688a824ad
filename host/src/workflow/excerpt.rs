//! Values in errors: as much of them as helps, and no more.

/// How many characters of a value an error shows: enough to recognise it, and a page of errors stays readable.
const MAX_SHOWN: usize = 100;

/// The beginning of a text, with a mark if it was cut.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(MAX_SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ä".repeat(MAX_SHOWN)), "ä".repeat(MAX_SHOWN));
        assert_eq!(excerpt(&"ä".repeat(MAX_SHOWN + 1)), format!("{}…", "ä".repeat(MAX_SHOWN)));
    }
}
