//! What is said of a panic: where it was and in which words of ours, never the data it was about.

use std::{
    borrow::Cow,
    panic::{self, PanicHookInfo},
};

use super::log::{flush_log, is_logging};

/// Puts our hook in place of the standard one, which prints the message whole: a slice of a client's text, the key in an error.
pub fn guard_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, ToString::to_string);
        let message = message(info);
        if is_logging() {
            tracing::error!(event = "panic", place, what = &*message, "a fault of segue: please report it");
            // A worker's panic is caught and the process goes on: it must not wait for a log that nobody reads.
            if std::thread::current().name() == Some("main") {
                flush_log();
            }
        } else {
            eprintln!("error: a fault of segue at {place}: {message}; please report it");
        }
    }));
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> Cow<'a, str> {
    let payload = info.payload();
    if let Some(fixed) = payload.downcast_ref::<&'static str>() {
        return Cow::Borrowed(fixed);
    }
    payload.downcast_ref::<String>().map_or(Cow::Borrowed(WITHHELD), |text| Cow::Owned(without_data(text)))
}

/// A message that was put together at run time, as far as it is certain to be the compiler's or the library's own words.
fn without_data(text: &str) -> String {
    let known = KNOWN.iter().find(|(start, _)| text.starts_with(start));
    match known {
        Some((start, Rest::Numbers)) => {
            let harmless = |char: &char| char.is_ascii_digit() || char.is_ascii_lowercase() || " .,()".contains(*char);
            let rest: String = text[start.len()..].chars().take(SHOWN_CHARS_MAX).take_while(harmless).collect();
            format!("{start}{rest}")
        }
        Some((start, Rest::Data)) => format!("{start} (the value is not shown)"),
        None => WITHHELD.to_owned(),
    }
}

/// What stands behind the known start of a message.
enum Rest {
    /// Lengths and positions.
    Numbers,
    /// Values, or the text that was cut.
    Data,
}

const KNOWN: [(&str, Rest); 10] = [
    ("index out of bounds: the len is ", Rest::Numbers),
    ("range start index ", Rest::Numbers),
    ("range end index ", Rest::Numbers),
    ("slice index starts at ", Rest::Numbers),
    ("mid > len", Rest::Data),
    ("byte index ", Rest::Data),
    ("start byte index ", Rest::Data),
    ("end byte index ", Rest::Data),
    ("called `Result::unwrap()` on an `Err` value", Rest::Data),
    ("assertion `left == right` failed", Rest::Data),
];

/// More of a message is not shown.
const SHOWN_CHARS_MAX: usize = 120;
const WITHHELD: &str = "(the message may hold data and is not shown)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_is_in_what_is_said() {
        let canary = "wk_test_canary";
        let table = [
            ("index out of bounds: the len is 3 but the index is 7", "index out of bounds: the len is 3 but the index is 7"),
            ("range end index 9 out of range for slice of length 4", "range end index 9 out of range for slice of length 4"),
            ("byte index 1 is not a char boundary; it is inside 'x' of `wk_test_canary`", "byte index  (the value is not shown)"),
            (
                "called `Result::unwrap()` on an `Err` value: \"wk_test_canary\"",
                "called `Result::unwrap()` on an `Err` value (the value is not shown)",
            ),
            ("assertion `left == right` failed\n  left: \"wk_test_canary\"", "assertion `left == right` failed (the value is not shown)"),
            ("index out of bounds: the len is \"wk_test_canary", "index out of bounds: the len is "),
            ("wk_test_canary is no key", WITHHELD),
            ("an invariant: wk_test_canary", WITHHELD),
        ];
        for (text, want) in table {
            let said = without_data(text);
            assert_eq!(said, want);
            assert!(!said.contains(canary));
        }
    }
}
