//! Text of strangers on a terminal: names, reasons and answers are shown, never obeyed.

/// The text with everything that a terminal could obey, or that could hide in it, written out.
pub fn inert(text: &str) -> String {
    if text.chars().all(|c| !acts(c)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// As [`inert`], for JSON that is written already: what may not stand in it raw is escaped as JSON does.
pub fn inert_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Line breaks are the JSON's own: inside of its texts they are escaped.
        if acts(c) && c != '\n' {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// The text, cut to so many characters, with a mark where it was cut.
pub fn cut(text: &str, chars_max: usize) -> String {
    let text = inert(text);
    if text.chars().count() <= chars_max {
        return text;
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(3)).collect();
    format!("{kept}...")
}

/// Control characters (escape sequences begin with one), line and paragraph ends, and what turns the direction of writing or has no
/// width.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let table = [
            ("plain \u{e9}", "plain \u{e9}"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\u{9b}31m", "a\\u{d}\\u{a}b\\u{9b}31m"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("../../etc/passwd", "../../etc/passwd"),
        ];
        for (text, want) in table {
            assert_eq!(inert(text), want);
        }
        assert_eq!(inert_json("{\"a\":\"\u{9b}31m\u{202e}\u{7f}\"}"), "{\"a\":\"\\u009b31m\\u202e\\u007f\"}");
        assert_eq!(cut("0123456789", 8), "01234...");
    }
}
