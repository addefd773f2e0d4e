//! One event of an envelope alone: what is delivered when it is sent again from the quarantine.

use bytes::Bytes;

use crate::model::{Destination, Encoding, Envelope, Head, PerDestination, Selection, json::Raw};

/// The envelope of the event at `index` alone, for `destination` alone. Everything else stays: arrival, path, address, key, and
/// what stands beside the events of a batch. An event without a messageId gets the one that it has had in both copies.
///
/// `items` are all events of `inflated`, the envelope's body.
pub(super) fn alone(envelope: &Envelope, inflated: &Bytes, items: &[Raw<'_>], index: usize, destination: Destination) -> Bytes {
    let (body, encoding) = match items {
        [_] | [] => (envelope.body.clone(), envelope.encoding),
        items => (cut_out(envelope, inflated, items, index), Encoding::Identity),
    };
    let mut plan = envelope.plan.clone();
    plan.events = PerDestination::default();
    *plan.events.of_mut(destination) = Selection::All;
    Envelope { plan, outline: None, events: 1, body, encoding, ..envelope.clone() }.encode()
}

/// The body with one item in its list: the bytes around the list and the item's own.
fn cut_out(envelope: &Envelope, inflated: &Bytes, items: &[Raw<'_>], index: usize) -> Bytes {
    let Ok(text) = std::str::from_utf8(inflated) else { return inflated.clone() };
    let (Some(first), Some(last), Some(item)) = (items.first(), items.last(), items.get(index)) else { return inflated.clone() };
    let (before, after) = (&text[..first.range_in(text).start], &text[last.range_in(text).end..]);
    let named = named(envelope, *item, index);
    let mut out = Vec::with_capacity(before.len() + named.len() + after.len());
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(named.as_bytes());
    out.extend_from_slice(after.as_bytes());
    out.into()
}

/// The item with its messageId: alone it could not be numbered by its place any more. A blank one before it counts no longer, as
/// of repeats the last does.
fn named(envelope: &Envelope, item: Raw<'_>, index: usize) -> String {
    let text = item.text();
    let head = Head::of(item, envelope.endpoint);
    let (None, Some(open)) = (&head.message_id, text.strip_suffix('}')) else { return text.to_owned() };
    let comma = if open.trim_end().ends_with('{') { "" } else { "," };
    format!("{open}{comma}\"messageId\":\"{}\"}}", head.message_id(envelope.id, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BasicAuth, Endpoint, EnvelopeId, Origin, Plan, Reading, SourceId, WallTime};

    fn envelope(body: &'static str) -> Envelope {
        Envelope {
            id: EnvelopeId(7),
            source: SourceId::parse("web").unwrap(),
            received_at: WallTime::from_millis(1_000),
            endpoint: Endpoint::Batch,
            path: "/v1/batch".into(),
            client_ip: Some([203, 0, 113, 9].into()),
            content_type: None,
            user_agent: None,
            retry_count: None,
            basic_auth: BasicAuth::Colon,
            key_print: [3; 8],
            encoding: Encoding::Identity,
            events: 3,
            plan: Plan { events: PerDestination { segment: Selection::All, rudderstack: Selection::All }, ..Plan::default() },
            origin: Origin::Client,
            outline: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn an_event_alone_keeps_what_stood_around_it() {
        let whole = envelope(r#"{"sentAt":"t", "batch" : [ {"messageId":"a"}, {"event":"B", "messageId": ""} ,{} ],"context":{"x":1}}"#);
        let reading = Reading::of(whole.endpoint, &whole.body).unwrap();
        let table = [
            r#"{"sentAt":"t", "batch" : [ {"messageId":"a"} ],"context":{"x":1}}"#,
            r#"{"sentAt":"t", "batch" : [ {"event":"B", "messageId": "","messageId":"segue-00000000000000000000000000000007-1"} ],"context":{"x":1}}"#,
            r#"{"sentAt":"t", "batch" : [ {"messageId":"segue-00000000000000000000000000000007-2"} ],"context":{"x":1}}"#,
        ];
        for (index, want) in table.into_iter().enumerate() {
            let alone = Envelope::decode(&alone(&whole, &whole.body, &reading.items, index, Destination::RudderStack)).unwrap();
            assert_eq!(alone.body, want);
            assert_eq!((alone.events, alone.received_at, alone.client_ip), (1, whole.received_at, whole.client_ip));
            assert_eq!(alone.plan.events, PerDestination { segment: Selection::None, rudderstack: Selection::All });
            let read = Reading::of(alone.endpoint, &alone.body).unwrap();
            let (then, now) = (Head::of(reading.items[index], whole.endpoint), Head::of(read.items[0], alone.endpoint));
            assert_eq!(then.message_id(whole.id, index), now.message_id(alone.id, 0), "its id stays");
        }
    }

    #[test]
    fn a_single_call_stays_as_it_came() {
        let whole = Envelope { endpoint: Endpoint::Batch, events: 1, ..envelope(r#"{"batch":[{}]}"#) };
        let reading = Reading::of(whole.endpoint, &whole.body).unwrap();
        let alone = Envelope::decode(&alone(&whole, &whole.body, &reading.items, 0, Destination::Segment)).unwrap();
        assert_eq!((alone.body, alone.encoding), (whole.body, Encoding::Identity));
    }
}
