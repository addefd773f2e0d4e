//! Text of others, made harmless to look at.

use std::{borrow::Cow, fmt::Write};

/// The text with every character that a terminal or a reader's eye could be misled by written as `\uXXXX`: controls (ESC and line
/// ends among them), the marks that turn the direction of text, and what has no width. Valid inside a JSON string too.
#[must_use]
pub fn inert(text: &str) -> Cow<'_, str> {
    inert_but(text, |_| false)
}

/// As [`inert`], but lets through what `harmless` says, for a caller that writes such characters itself.
#[must_use]
pub fn inert_but(text: &str, harmless: impl Fn(char) -> bool) -> Cow<'_, str> {
    let misleads = |char: char| is_misleading(char) && !harmless(char);
    if !text.contains(misleads) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if misleads(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// Controls of both sets; soft hyphen, Arabic letter mark, zero-width and direction marks, line and paragraph separators,
/// invisible operators and isolates, the byte order mark, annotation anchors, and the tags beyond the basic plane.
const fn is_misleading(char: char) -> bool {
    matches!(char,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mislead_is_spelled_out() {
        let table = [
            ("plain text, \u{e9}\u{4e2d}\u{1f600}", "plain text, \u{e9}\u{4e2d}\u{1f600}"),
            ("a\u{1b}]0;owned\u{7}b", "a\\u001b]0;owned\\u0007b"),
            ("two\r\nlines\tand a tab", "two\\u000d\\u000alines\\u0009and a tab"),
            ("\u{9b}31m", "\\u009b31m"),
            ("abc\u{202e}cba\u{2066}", "abc\\u202ecba\\u2066"),
            ("zero\u{200b}width\u{feff}", "zero\\u200bwidth\\ufeff"),
            ("tag\u{e0041}", "tag\\udb40\\udc41"),
        ];
        for (text, want) in table {
            assert_eq!(inert(text), want);
        }
        assert_eq!(inert_but("a\u{1b}[1m\n", |char| char == '\u{1b}'), "a\u{1b}[1m\\u000a");
    }

    #[test]
    fn an_escaped_text_is_the_same_json_string() {
        let text = "a\u{202e}b\u{200b}c\u{e0041}";
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&inert(&json)).unwrap(), text);
    }
}
