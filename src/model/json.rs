//! JSON as slices of the text it stands in.
//!
//! Events are looked at and edited without being parsed into values and printed again, so that big integers, key order,
//! number text and escapes stay the client's own (protocol.md T31). [`parse`] checks a whole text once; after that every
//! [`Raw`] is known to be valid and walking it needs no further checks. Nesting costs no stack.

use std::borrow::Cow;

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number.
    Number,
    /// Any string.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

/// Why a text is not JSON, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {offset}: {reason}")]
pub struct NotJson {
    /// Bytes from the start of the text.
    pub offset: usize,
    /// What was wrong there.
    pub reason: &'static str,
}

/// One valid JSON value, without white space around it, as it stands in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// Checks that `text` is one JSON value (RFC 8259; a byte-order mark before it is passed over) and returns it.
///
/// Deep nesting is no error: depth costs a bit of heap each level.
///
/// # Errors
/// When it is not UTF-8, not JSON, or has anything but white space after the value.
pub fn parse(text: &[u8]) -> Result<Raw<'_>, NotJson> {
    parse_visiting(text, |_, _, _| {})
}

/// As [`parse`], and calls `visit` with each value of the first levels as it ends: its level (0 is the whole), the name it has
/// in an object (None in an array), the value. Containers come after what is in them. One pass over the text finds what walking
/// would find in several.
///
/// # Errors
/// As [`parse`]; what was visited before the fault is then worth nothing.
pub fn parse_visiting<'a>(text: &'a [u8], mut visit: impl FnMut(usize, Option<Key<'a>>, Raw<'a>)) -> Result<Raw<'a>, NotJson> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|e| NotJson { offset: e.valid_up_to(), reason: "not UTF-8" })?;
    Scanner { text, bytes: text.as_bytes(), at: 0 }.whole(&mut visit)
}

/// The levels that [`parse_visiting`] tells of: the whole, the members of a body, the events of a batch, their members.
pub const LEVELS_VISITED: usize = 4;

impl<'a> Raw<'a> {
    /// A value whose text [`parse`] has accepted before, as it was kept; None for a text that cannot be one. A text that it has
    /// not accepted reads as some value or other, without harm.
    #[must_use]
    pub fn accepted(text: &'a str) -> Option<Self> {
        let first = text.as_bytes().first()?;
        matches!(first, b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9').then_some(Self(text))
    }

    /// The value's own text.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.0
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0.as_bytes()[0] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The string it is; None when it is none. A lone surrogate, which no Rust string can hold, reads as U+FFFD.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if is_plain(inner) { Cow::Borrowed(inner) } else { Cow::Owned(unescape(inner)) })
    }

    /// Its members in order, repeats included; none when it is no object.
    #[must_use]
    pub const fn members(self) -> Members<'a> {
        Members { walk: Walk::into(self.0, b'{') }
    }

    /// Its items in order; none when it is no array.
    #[must_use]
    pub const fn items(self) -> Items<'a> {
        Items { walk: Walk::into(self.0, b'[') }
    }

    /// The member of that name; of repeats the last, as both vendors' parsers take it (protocol.md T31). None when it is
    /// absent or this is no object.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        self.members().filter(|(key, _)| key.is(name)).last().map(|(_, value)| value)
    }

    /// Where this value stands in `whole`, the text it was cut from, in bytes.
    ///
    /// # Panics
    /// When it was not cut from `whole`.
    #[must_use]
    pub fn range_in(self, whole: &str) -> std::ops::Range<usize> {
        let start = (self.0.as_ptr() as usize).checked_sub(whole.as_ptr() as usize).expect("the value stands in the text");
        assert!(start + self.0.len() <= whole.len(), "the value stands in the text");
        start..start + self.0.len()
    }
}

/// The name of a member, still escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// The key's own text, with its quotes.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.0
    }

    /// The name it spells.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        Raw(self.0).string().unwrap_or_default()
    }

    /// Whether it spells `name`, with escapes or without.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        inner == name || (!is_plain(inner) && unescape(inner) == name)
    }
}

/// The members of an object, in order.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.walk.next_value()?;
        let value = self.walk.next_value()?;
        Some((Key(key.0), value))
    }
}

/// The items of an array, in order.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        self.walk.next_value()
    }
}

/// Writes `text` as a JSON string, quotes included.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// A walk over the values of a container that is known to be valid.
#[derive(Debug, Clone)]
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    const fn into(text: &'a str, open: u8) -> Self {
        let at = if text.as_bytes()[0] == open { 1 } else { text.len() };
        Self { text, at }
    }

    /// The next value, passing over the white space, commas and colons before it.
    fn next_value(&mut self) -> Option<Raw<'a>> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = bytes.get(self.at) {
            self.at += 1;
        }
        let start = self.at;
        let end = match bytes.get(start)? {
            b'}' | b']' => return None,
            b'"' => string_end(bytes, start),
            b'{' | b'[' => container_end(bytes, start),
            _ => start + bytes[start..].iter().position(|b| b",]} \n\r\t".contains(b)).unwrap_or(bytes.len() - start),
        };
        self.at = end;
        Some(Raw(&self.text[start..end]))
    }
}

/// The end of the valid string that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        at = string_stop(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// The next byte, from `at` on, at which a string cannot simply go on: a quote, a backslash, a control character; the length
/// when there is none. Eight bytes at a time: most strings of an event are too short for `memchr` to be worth its call.
#[inline]
fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte of `word` that is below `limit` (128 at most); exact for the lowest such byte.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    while let Some(chunk) = bytes.get(at..at + 8).and_then(|chunk| <[u8; 8]>::try_from(chunk).ok()) {
        let word = u64::from_le_bytes(chunk);
        let stops = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1);
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b'"' | b'\\') || *b < 0x20).unwrap_or(rest.len())
}

/// The end of the valid object or array that begins at `start`.
fn container_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Whether the text between two quotes spells itself; in a valid one only a backslash says otherwise.
#[inline]
fn is_plain(inner: &str) -> bool {
    string_stop(inner.as_bytes(), 0) == inner.len()
}

/// The string that `inner`, the text between two quotes, spells.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or_default();
        match escape {
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'u' => {
                let (character, after) = unicode_escape(rest);
                out.push(character);
                rest = after;
            }
            other => out.push(char::from(other)),
        }
    }
    out.push_str(rest);
    out
}

/// Reads what follows a `\u`: four digits, and the second half of a surrogate pair when there is one.
fn unicode_escape(rest: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(rest) else { return (char::REPLACEMENT_CHARACTER, rest) };
    let after = &rest[4..];
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = after.strip_prefix("\\u").and_then(unit)
        && (0xdc00..0xe000).contains(&second)
    {
        let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER), &after[6..]);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), after)
}

/// The one pass that checks a text.
struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// Where the value of one level begins, and its name.
#[derive(Clone, Copy, Default)]
struct Begun {
    key: Option<(usize, usize)>,
    value: usize,
}

impl<'a> Scanner<'a> {
    fn whole(mut self, visit: &mut impl FnMut(usize, Option<Key<'a>>, Raw<'a>)) -> Result<Raw<'a>, NotJson> {
        self.space();
        let start = self.at;
        self.value(visit)?;
        let end = self.at;
        self.space();
        if self.at != self.text.len() {
            return Err(self.wrong("something after the value"));
        }
        Ok(Raw(&self.text[start..end]))
    }

    const fn wrong(&self, reason: &'static str) -> NotJson {
        NotJson { offset: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Checks one value. Open containers are kept as a stack of bytes, so that a client cannot spend our stack.
    fn value(&mut self, visit: &mut impl FnMut(usize, Option<Key<'a>>, Raw<'a>)) -> Result<(), NotJson> {
        let mut open: Vec<u8> = Vec::with_capacity(8);
        let mut begun = [Begun::default(); LEVELS_VISITED];
        loop {
            // Here a value must begin.
            self.space();
            if let Some(begun) = begun.get_mut(open.len()) {
                begun.value = self.at;
            }
            if self.opens(&mut open, &mut begun)? {
                continue;
            }
            // Here a value has ended: close what ends with it, or go on to the next one.
            loop {
                let level = open.len();
                if let Some(begun) = begun.get(level) {
                    let key = begun.key.map(|(start, end)| Key(&self.text[start..end]));
                    visit(level, key, Raw(&self.text[begun.value..self.at]));
                }
                let Some(&close) = open.last() else { return Ok(()) };
                self.space();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if close == b'}' {
                            self.space();
                            self.named(level, &mut begun)?;
                        }
                        break;
                    }
                    Some(b) if b == close => {
                        self.at += 1;
                        open.pop();
                    }
                    _ => return Err(self.wrong("a comma or the end of the object or array was expected")),
                }
            }
        }
    }

    /// Reads a scalar or an empty container whole, or the beginning of any other container; says whether a value must follow.
    fn opens(&mut self, open: &mut Vec<u8>, begun: &mut [Begun; LEVELS_VISITED]) -> Result<bool, NotJson> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.space();
                if self.peek() != Some(b'}') {
                    open.push(b'}');
                    self.named(open.len(), begun)?;
                    return Ok(true);
                }
                self.at += 1;
            }
            Some(b'[') => {
                self.at += 1;
                self.space();
                if self.peek() != Some(b']') {
                    open.push(b']');
                    if let Some(begun) = begun.get_mut(open.len()) {
                        begun.key = None;
                    }
                    return Ok(true);
                }
                self.at += 1;
            }
            Some(b'"') => self.string()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.wrong("a value was expected")),
        }
        Ok(false)
    }

    /// Reads the name of a member of a container, and remembers it where it will be visited.
    fn named(&mut self, level: usize, begun: &mut [Begun; LEVELS_VISITED]) -> Result<(), NotJson> {
        let start = self.at;
        let end = self.key()?;
        if let Some(begun) = begun.get_mut(level) {
            begun.key = Some((start, end));
        }
        Ok(())
    }

    /// Reads a name and the colon behind it; says where the name ends.
    fn key(&mut self) -> Result<usize, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name in quotes was expected"));
        }
        self.string()?;
        let end = self.at;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("a colon was expected"));
        }
        self.at += 1;
        Ok(end)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.wrong("a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        loop {
            self.at = string_stop(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.wrong("a control character in a string")),
                None => return Err(self.wrong("a string without an end")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        let width = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.bytes.get(self.at + 2..self.at + 6).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return Err(self.wrong("an escape that JSON does not know")),
        };
        self.at += width;
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.wrong("a digit was expected")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let count = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.wrong("a digit was expected"));
        }
        self.at += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slices_are_the_text_itself() {
        let text = br#" {"a": 9007199254740993 , "b":[1e+21,"x\"]",{}], "a":null} "#;
        let raw = parse(text).unwrap();
        let members: Vec<_> = raw.members().map(|(key, value)| (key.name().into_owned(), value.text())).collect();
        assert_eq!(members, [("a".into(), "9007199254740993"), ("b".into(), r#"[1e+21,"x\"]",{}]"#), ("a".into(), "null")]);
        assert_eq!(raw.get("a").map(Raw::text), Some("null"), "of repeats the last wins");
        assert_eq!(raw.get("b").unwrap().items().map(Raw::text).collect::<Vec<_>>(), ["1e+21", r#""x\"]""#, "{}"]);
        assert_eq!(raw.get("b").unwrap().range_in(raw.text()), 29..46);
    }

    #[test]
    fn a_visit_tells_what_walking_finds() {
        let text = br#"{"a":[{"x":1,"y":{"z":[2]}},7,[]],"b":{},"c":"s"}"#;
        let mut seen = Vec::new();
        parse_visiting(text, |level, key, value| seen.push((level, key.map(|key| key.name().into_owned()), value.text()))).unwrap();
        let named = |level, key: &str, text| (level, Some(key.to_owned()), text);
        assert_eq!(
            seen,
            [
                named(3, "x", "1"),
                named(3, "y", r#"{"z":[2]}"#),
                (2, None, r#"{"x":1,"y":{"z":[2]}}"#),
                (2, None, "7"),
                (2, None, "[]"),
                named(1, "a", r#"[{"x":1,"y":{"z":[2]}},7,[]]"#),
                named(1, "b", "{}"),
                named(1, "c", "\"s\""),
                (0, None, std::str::from_utf8(text).unwrap()),
            ]
        );
    }

    #[test]
    fn strings_spell_what_they_spell() {
        let table = [
            (r#""a""#, "a"),
            (r#""\u00e9\n""#, "\u{e9}\n"),
            (r#""\ud83d\udc0e""#, "\u{1f40e}"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""\/""#, "/"),
        ];
        for (text, want) in table {
            assert_eq!(parse(text.as_bytes()).unwrap().string().unwrap(), want);
        }
        assert!(parse(br#"{"\u0061":1}"#).unwrap().get("a").is_some());
        assert_eq!(parse(b"12").unwrap().string(), None);
    }

    #[test]
    fn a_hundred_thousand_levels_cost_no_stack() {
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(parse(&deep).unwrap().items().count(), 1);
        assert!(parse(&deep[..150_000]).is_err());
    }

    #[test]
    fn takes_and_refuses_what_serde_json_does() {
        let table: [&[u8]; 22] = [
            b"01",
            b"1.",
            b".5",
            b"-",
            b"1e",
            b"+1",
            b"NaN",
            b"[1,]",
            b"{\"a\":1,}",
            b"{a:1}",
            b"\"\t\"",
            b"\"\\x\"",
            b"\"\\u12\"",
            b"tru",
            b"",
            b"[1 2]",
            b"{\"a\" 1}",
            b"\xff",
            b"nul",
            b"[",
            b"{\"a\":}",
            b"1 1",
        ];
        for text in table {
            assert!(parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_any_bytes(text in r#"[\[\]{}",:0-9eE+.\-truefalsn \\u]{0,24}"#) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(parse(text.as_bytes()).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn a_string_stops_where_a_plain_search_stops(bytes: Vec<u8>, at in 0_usize..40) {
            let slow = bytes.iter().enumerate().skip(at).find(|(_, b)| matches!(b, b'"' | b'\\') || **b < 0x20).map(|(index, _)| index);
            prop_assert_eq!(string_stop(&bytes, at.min(bytes.len())), slow.unwrap_or(bytes.len()));
        }

        #[test]
        fn a_text_that_was_never_accepted_does_no_harm(text in r#"[\[{"tfn-][\[\]{}",:0-9a\\ ]{0,24}"#) {
            let Some(raw) = Raw::accepted(&text) else { return Ok(()) };
            let _ = (raw.string(), raw.get("a"), raw.items().count());
            for (key, value) in raw.members() {
                let _ = (key.name(), value.kind());
            }
        }

        #[test]
        fn any_string_survives_a_round_trip(text in ".*") {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(parse(&out).unwrap().string().unwrap(), text);
        }
    }
}
