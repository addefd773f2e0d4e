//! Cheap looks at a body that is known to be JSON: what they rule out is certain, what they do not may be anything.

use memchr::{memchr2, memmem};

use crate::model::Endpoint;

/// Whether the body may hold a `context.direct`, by which an event of a server asks for the IP of its connection
/// (protocol.md 1.10). The name may be spelled with escapes, its letters being U+0063 to U+0074.
pub(super) fn mentions_direct(body: &[u8]) -> bool {
    [&b"\"direct\""[..], b"\\u006", b"\\u007"].into_iter().any(|sign| memmem::find(body, sign).is_some())
}

/// Whether every event certainly has a messageId of its own. One pass, which looks into nothing but the events' own names.
pub(super) fn has_message_ids(endpoint: Endpoint, body: &[u8]) -> bool {
    let event_depth = if endpoint.kind().is_some() { 1 } else { 3 };
    let mut scan = Scan { body, at: 0, depth: 0, is_in_list: endpoint.kind().is_some(), is_named: false };
    scan.run(event_depth)
}

struct Scan<'a> {
    body: &'a [u8],
    at: usize,
    depth: usize,
    /// Whether the container around the events, at depth 2, is an array; a single event has none around it.
    is_in_list: bool,
    /// Whether the event that is being looked at has a messageId so far.
    is_named: bool,
}

impl Scan<'_> {
    fn run(&mut self, event_depth: usize) -> bool {
        while let Some(byte) = self.body.get(self.at) {
            match byte {
                b'"' => {
                    let end = self.string_end();
                    if self.depth == event_depth && self.is_in_list && !self.look_at_name(end) {
                        return false;
                    }
                    self.at = end;
                    continue;
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth == event_depth {
                        self.is_named = *byte == b'[';
                    } else if self.depth + 1 == event_depth {
                        self.is_in_list = *byte == b'[';
                    }
                }
                b'}' | b']' => {
                    if self.depth == event_depth && self.is_in_list && !self.is_named {
                        return false;
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
            self.at += 1;
        }
        true
    }

    /// Takes note of a messageId in the string that begins here and ends at `end`. False when it is a name that is spelled
    /// with escapes, which may be any.
    fn look_at_name(&mut self, end: usize) -> bool {
        let (text, colon) = (&self.body[self.at..end], self.skip_space(end));
        if self.body.get(colon) != Some(&b':') {
            return true;
        }
        if text == b"\"messageId\"" {
            self.is_named = self.names_at(self.skip_space(colon + 1));
        }
        !text.contains(&b'\\')
    }

    /// Whether the value at `at` is a messageId as it stands: a number, or text that does not begin blank.
    fn names_at(&self, at: usize) -> bool {
        match self.body.get(at) {
            Some(b'-' | b'0'..=b'9') => true,
            Some(b'"') => self.body.get(at + 1).is_some_and(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')),
            _ => false,
        }
    }

    fn skip_space(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.body.get(at) {
            at += 1;
        }
        at
    }

    /// The end of the string that begins here.
    fn string_end(&self) -> usize {
        let mut at = self.at + 1;
        while let Some(found) = self.body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if self.body[at] == b'"' {
                return at + 1;
            }
            at += 2;
        }
        self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventKind;

    #[test]
    fn events_with_ids_are_told_from_events_that_may_lack_them() {
        let table = [
            (r#"{"batch":[{"messageId":"a"},{"x":{"y":1},"messageId" : 7}],"context":{"library":{"name":"go"}}}"#, true),
            (r#"{"batch":[{"a":[{"b":1}],"messageId":"a"},3,[]]}"#, true),
            (r#"{"batch":[]}"#, true),
            (r#"{"batch":[{"messageId":"a"},{"properties":{"messageId":"a"}}]}"#, false),
            (r#"{"batch":[{"messageId":"a","messageId":null}]}"#, false),
            (r#"{"batch":[{"event":"messageId"}]}"#, false),
            (r#"{"batch":[{"messageId":"a"},{}]}"#, false),
            (r#"{"batch":[{"messageId":""}]}"#, false),
            (r#"{"batch":[{"messageId":"a","message\u0049d":null}]}"#, false),
            (r#"{"batch":[{"messageId":"a","event":"caf\u00e9"}]}"#, true),
            (r#"{"batch":[{"messageId":" a"}]}"#, false),
            (r#"{"messageId":"a","batch":[{"\"messageId":"a"}]}"#, false),
        ];
        for (body, want) in table {
            assert_eq!(has_message_ids(Endpoint::Batch, body.as_bytes()), want, "{body}");
        }
        let single = Endpoint::Single(EventKind::Track);
        assert!(has_message_ids(single, br#"{"messageId":"a","p":{}}"#));
        assert!(!has_message_ids(single, br#"{"p":{"messageId":"a"}}"#));
    }

    #[test]
    fn broken_bytes_do_no_harm() {
        for body in ["", "\"", "\"\\", "}}}", "{\"messageId\"", "{\"messageId\":", "[[["] {
            has_message_ids(Endpoint::Batch, body.as_bytes());
            has_message_ids(Endpoint::Single(EventKind::Track), body.as_bytes());
        }
    }
}
