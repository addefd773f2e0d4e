//! Who did it, and which event it is: ids as RudderStack's gateway reads them (protocol.md 2.4).

use std::borrow::Cow;

use super::{
    Idless, Refusal, Rule, Settings,
    draft::{Draft, Field},
    translate::Facts,
};
use crate::model::{
    EventKind, MessageId, MessagePrint,
    json::{Kind, Raw},
};

/// The longest messageId, in characters, that Segment documents (protocol.md 1.5).
const MESSAGE_ID_CHARACTERS_MAX: usize = 100;

/// Gives the event a messageId that is a string (protocol.md T7), by the rule of [`crate::model::Head`]: what both copies,
/// the deduplication and the pairing of the two sides know the event by. Returns its print.
pub(super) fn name(draft: &mut Draft<'_>, facts: &Facts<'_>) -> MessagePrint {
    let Some((own, id)) = draft.get(Field::MessageId).and_then(|own| Some((own, named_by(own)?))) else {
        draft.set(Field::MessageId, assigned(facts), Rule::MESSAGE_ID);
        return MessagePrint::of(MessageId::assigned(facts.envelope, facts.index).as_str());
    };
    if own.kind() == Kind::Number {
        draft.set(Field::MessageId, format!("\"{id}\""), Rule::MESSAGE_ID);
    } else if id.len() > MESSAGE_ID_CHARACTERS_MAX && id.chars().count() > MESSAGE_ID_CHARACTERS_MAX {
        draft.noticed.insert(Rule::MESSAGE_ID);
    }
    MessagePrint::of(&id)
}

/// The id that an event is named by: text that is not blank, or a number's own text; None for anything else.
fn named_by(message_id: Raw<'_>) -> Option<Cow<'_, str>> {
    match message_id.kind() {
        Kind::Number => Some(Cow::Borrowed(message_id.text())),
        _ => message_id.string().filter(|text| !text.trim().is_empty()),
    }
}

fn assigned(facts: &Facts<'_>) -> String {
    format!("\"{}\"", MessageId::assigned(facts.envelope, facts.index).as_str())
}

/// Refuses an event of nobody, or finds it somebody (protocol.md T5); removes null ids (T21) and notes those that are no
/// strings (T22).
pub(super) fn settle(draft: &mut Draft<'_>, facts: &Facts<'_>, settings: Settings) -> Result<(), Refusal> {
    let ids = [Field::UserId, Field::AnonymousId];
    let is_somebody = ids.into_iter().filter_map(|id| draft.get(id)).any(says_something);
    for id in [Field::UserId, Field::AnonymousId, Field::PreviousId, Field::GroupId] {
        if draft.get(id).is_some_and(Raw::is_null) {
            draft.remove(id, Rule::NULL_IDS);
        }
    }
    if ids.into_iter().filter_map(|id| draft.some(id)).any(|id| id.kind() != Kind::String) {
        draft.noticed.insert(Rule::NUMERIC_IDS);
    }
    match settings.idless {
        _ if is_somebody => Ok(()),
        Idless::Refuse => Err(Refusal::NoId),
        Idless::Adopt => {
            let own = draft.get(Field::MessageId).filter(|own| says_something(*own) && own.kind() == Kind::String);
            draft.set(Field::AnonymousId, own.map_or_else(|| assigned(facts), |own| own.text().to_owned()), Rule::IDLESS);
            Ok(())
        }
    }
}

/// Fills the type in from the path (protocol.md T8), and an alias's previousId from its anonymousId (T20).
pub(super) fn complete(draft: &mut Draft<'_>, facts: &Facts<'_>) -> Option<EventKind> {
    let own = draft.get(Field::Type).and_then(Raw::string).and_then(|text| EventKind::parse(&text));
    let kind = own.or(facts.endpoint.kind());
    if let (None, Some(kind)) = (own, kind) {
        draft.set(Field::Type, format!("\"{kind}\""), Rule::PATH_TYPE);
    }
    if kind == Some(EventKind::Alias)
        && !draft.get(Field::PreviousId).is_some_and(says_something)
        && let Some(anonymous_id) = draft.get(Field::AnonymousId).filter(|id| says_something(*id))
    {
        draft.set(Field::PreviousId, anonymous_id.text(), Rule::PREVIOUS_ID);
    }
    kind
}

/// Whether the gateway takes a value for an id: anything but null and text of which nothing is left once what cannot be
/// seen is taken out of it.
fn says_something(id: Raw<'_>) -> bool {
    match id.kind() {
        Kind::Null => false,
        Kind::String => id.string().is_some_and(|text| text.chars().any(is_visible)),
        Kind::Bool | Kind::Number | Kind::Array | Kind::Object => true,
    }
}

/// Whether a character survives the gateway's cleaning of ids: white space, control characters and the invisible ones
/// that it lists do not.
fn is_visible(character: char) -> bool {
    let blank = character.is_whitespace()
        || character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'.. | '\u{feff}' | '\u{ffa0}');
    !blank
}
