//! Text of strangers on a terminal: names, reasons and answers are shown, never obeyed.

use crate::model::{inert, inert_but};

/// JSON that is written already, made harmless to look at: what may mislead is escaped as JSON does. Line ends between its members stay.
pub fn inert_json(json: &str) -> String {
    inert_but(json, |char| char == '\n').into_owned()
}

/// The text, made harmless and cut to so many characters, with a mark where it was cut.
pub fn cut(text: &str, chars_max: usize) -> String {
    let text = inert(text);
    if text.chars().count() <= chars_max {
        return text.into_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(3)).collect();
    format!("{kept}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out_and_long_texts_are_cut() {
        assert_eq!(inert_json("{\n\"a\":\"\u{9b}31m\u{202e}\u{7f}\"}"), "{\n\"a\":\"\\u009b31m\\u202e\\u007f\"}");
        assert_eq!(cut("0123456789", 8), "01234...");
        assert_eq!(cut("a\u{1b}[2J", 40), "a\\u001b[2J");
    }
}
