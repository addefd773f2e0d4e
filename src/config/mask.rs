//! Keys in the wrong place: what looks like one is not shown, wherever it stands.

use std::ops::Range;

/// The runs of a text that look like a write key or a token.
pub(super) fn key_like(text: &str) -> Vec<Range<usize>> {
    let (mut runs, mut at) = (Vec::new(), 0);
    for part in text.split_inclusive(|char: char| !is_of_key(char)) {
        let run = part.trim_end_matches(|char: char| !is_of_key(char));
        if looks_like_key(run) {
            runs.push(at..at + run.len());
        }
        at += part.len();
    }
    runs
}

/// The text with each of them as `***`.
pub(super) fn masked(text: String) -> String {
    let runs = key_like(&text);
    runs.into_iter().rev().fold(text, |mut text, run| {
        text.replace_range(run, "***");
        text
    })
}

const fn is_of_key(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

/// Both vendors' keys are random letters and digits, 27 or 32 of them; names, paths and ids lack one of the three kinds.
fn looks_like_key(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
    run.len() >= KEY_CHARS_MIN && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit)
}

/// Shorter runs are words.
const KEY_CHARS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_masked_and_names_are_not() {
        let table = [
            ("`2ZfK3y7sQpRabcdEFGH9` is not set", "`***` is not set"),
            ("a wk_test_Canary0001_x, and wk_test_Canary0002_y.", "a ***, and ***."),
            ("/srv/Acme-1/segment.key cannot be read", "/srv/Acme-1/segment.key cannot be read"),
            ("the variable SEGMENT_WRITE_KEY_2 is not set", "the variable SEGMENT_WRITE_KEY_2 is not set"),
            ("the source web-checkout-production-2", "the source web-checkout-production-2"),
            ("", ""),
        ];
        for (text, want) in table {
            assert_eq!(masked(text.to_owned()), want);
        }
    }
}
