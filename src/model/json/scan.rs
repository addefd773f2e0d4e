//! The one pass over a text that says whether it is JSON.

use super::{Key, LEVELS_VISITED, NotJson, Raw};

/// The one pass that checks a text.
pub(super) struct Scanner<'a> {
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
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// Checks the whole text, which is one value, and calls `visit` as [`parse_visiting`](super::parse_visiting) says.
    pub(super) fn whole(mut self, visit: &mut impl FnMut(usize, Option<Key<'a>>, Raw<'a>)) -> Result<Raw<'a>, NotJson> {
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

/// The next byte, from `at` on, at which a string cannot simply go on: a quote, a backslash, a control character; the length
/// when there is none. Eight bytes at a time: most strings of an event are too short for `memchr` to be worth its call.
#[inline]
pub(super) fn string_stop(bytes: &[u8], mut at: usize) -> usize {
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
