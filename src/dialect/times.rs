//! Times: computed once, at arrival (protocol.md T2, T3).

use std::{borrow::Cow, fmt::Write};

use super::{
    Rule,
    draft::{Draft, Field},
    translate::Facts,
};
use crate::model::{
    WallTime,
    json::{Kind, Raw},
};

/// A time as the client wrote it, and as it reads.
#[derive(Clone, Copy)]
struct Stated<'a> {
    text: &'a str,
    time: WallTime,
}

/// Sets `originalTimestamp`, `sentAt` and `timestamp`.
///
/// `timestamp` is what Segment would have computed had the request reached it when it reached segue; RudderStack takes it
/// as it is. A client that states no time of the event has it dated at arrival, whatever its `sentAt`; one that states no
/// `sentAt` is believed on the time of the event, as there is nothing to correct it by.
///
/// A text that does not read as a time stays where it is, for RudderStack reads more forms than it is safe to guess at
/// here. Anything else that is no time (a number, say), which RudderStack would pass over for its own clock, is kept as
/// `originalTimestamp`, and the event is dated at arrival.
pub(super) fn compute<'a>(draft: &mut Draft<'a>, facts: &Facts<'a>) {
    let original = draft.get(Field::Timestamp).and_then(read).or_else(|| draft.get(Field::OriginalTimestamp).and_then(read));
    let own = draft.get(Field::SentAt).and_then(read);
    let sent = own.or_else(|| facts.frame.sent_at.and_then(read));
    if own.is_none() && sent.is_some() {
        draft.rules.insert(Rule::FOLD);
    }
    let arrival = || Cow::Owned(quoted(facts.received_at));
    draft.set(Field::SentAt, sent.map_or_else(arrival, |sent| Cow::Borrowed(sent.text)), Rule::TIMES);
    if let Some(original) = original {
        let corrected = facts.received_at.plus_millis(original.time.millis_since(sent.map_or(facts.received_at, |sent| sent.time)));
        if corrected != original.time {
            draft.rules.insert(Rule::SKEW);
        }
        draft.set(Field::OriginalTimestamp, original.text, Rule::TIMES);
        draft.set(Field::Timestamp, quoted(corrected), Rule::TIMES);
        return;
    }
    let stated = draft.some(Field::Timestamp);
    let unread = stated.or_else(|| draft.some(Field::OriginalTimestamp));
    draft.set(Field::OriginalTimestamp, unread.map_or_else(arrival, |raw| Cow::Borrowed(raw.text())), Rule::TIMES);
    if !stated.is_some_and(is_worded) {
        draft.set(Field::Timestamp, arrival(), Rule::TIMES);
    }
}

fn read(raw: Raw<'_>) -> Option<Stated<'_>> {
    let time = WallTime::parse(&raw.string()?)?;
    Some(Stated { text: raw.text(), time })
}

/// Whether a value is a text that says something.
fn is_worded(raw: Raw<'_>) -> bool {
    raw.kind() == Kind::String && raw.string().is_some_and(|text| !text.trim().is_empty())
}

fn quoted(time: WallTime) -> String {
    let mut text = String::with_capacity(26);
    text.push('"');
    // Writing to a String cannot fail.
    let _ = write!(text, "{time}");
    text.push('"');
    text
}
