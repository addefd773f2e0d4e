//! The edits of one body, as splices.

use std::{net::Ipv4Addr, ops::Range};

use bytes::Bytes;

use super::Edits;
use crate::model::{
    Envelope, MessageId, Reading, WallTime,
    json::{Kind, Raw},
};

/// A delivery that comes late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Late {
    /// How late, in milliseconds.
    pub(super) by_ms: i64,
    /// When segue had the request.
    pub(super) received_at: WallTime,
    /// When it is delivered.
    pub(super) now: WallTime,
}

/// The body of one envelope, and the splices that were found so far.
pub(super) struct Body<'a> {
    envelope: &'a Envelope,
    reading: &'a Reading<'a>,
    /// The body's value, which the ranges of `splices` count in.
    text: &'a str,
    late: Option<Late>,
    client_ip: Option<Ipv4Addr>,
    splices: Vec<(Range<usize>, String)>,
    edits: Edits,
    /// The last event that is kept.
    last_kept: Option<usize>,
    /// The batch's own context, read once.
    shared: Option<Context<'a>>,
    /// How many events without a context get the IP by the batch's.
    located_by_shared: u32,
}

/// The members of a context that edits look at; None for what is absent or null.
#[derive(Clone, Copy)]
struct Context<'a> {
    raw: Raw<'a>,
    ip: Option<Raw<'a>>,
    direct: Option<Raw<'a>>,
}

/// The members of one event that edits look at; of repeats the last.
#[derive(Default)]
struct Event<'a> {
    message_id: Option<Raw<'a>>,
    context: Option<Raw<'a>>,
    sent_at: Option<Raw<'a>>,
    timestamp: Option<Raw<'a>>,
    original_timestamp: Option<Raw<'a>>,
    members: usize,
}

/// Members that are to be written before the end of an object.
struct Tail {
    at: usize,
    members: usize,
    text: String,
}

impl<'a> Body<'a> {
    pub(super) fn of(envelope: &'a Envelope, reading: &'a Reading<'a>, late: Option<Late>, client_ip: Option<Ipv4Addr>) -> Self {
        Self {
            envelope,
            reading,
            text: reading.whole.text(),
            late,
            client_ip,
            splices: Vec::new(),
            edits: Edits::default(),
            last_kept: (0..reading.items.len()).rev().find(|index| envelope.plan.events.segment.contains(*index)),
            shared: reading.frame.context.filter(|context| context.kind() == Kind::Object).map(Context::of),
            located_by_shared: 0,
        }
    }

    /// Finds the edits of all events, and those of what the body says about all of them.
    pub(super) fn edit_all(&mut self) {
        let reading = self.reading;
        for (index, item) in reading.items.iter().enumerate() {
            if !self.is_kept(index) {
                self.cut(index);
            } else if item.kind() == Kind::Object {
                self.edit_event(index, *item);
            }
        }
        if self.is_single() {
            return;
        }
        let late = self.late.filter(|_| self.edits.late_sent_at > 0);
        if let (Some(late), Some((sent_at, time))) = (late, reading.frame.sent_at.and_then(read)) {
            self.replace(sent_at, quoted(time.plus_millis(late.by_ms)));
        }
        if let (1.., Some(ip), Some(shared)) = (self.located_by_shared, self.client_ip, self.shared) {
            self.put_ip(shared.raw, ip);
        }
    }

    /// The edited body and what was done; None when nothing was.
    pub(super) fn finish(mut self, inflated: &[u8]) -> Option<(Bytes, Edits)> {
        if self.splices.is_empty() {
            return None;
        }
        self.splices.sort_by_key(|(range, _)| (range.start, range.end));
        let start = self.text.as_ptr() as usize - inflated.as_ptr() as usize;
        let (before, after) = (&inflated[..start], &inflated[start + self.text.len()..]);
        let added: usize = self.splices.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(inflated.len() + added);
        out.extend_from_slice(before);
        let mut at = 0;
        for (range, text) in &self.splices {
            out.extend_from_slice(&self.text.as_bytes()[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&self.text.as_bytes()[at..]);
        out.extend_from_slice(after);
        Some((out.into(), self.edits))
    }

    fn is_single(&self) -> bool {
        self.envelope.endpoint.kind().is_some()
    }

    fn is_kept(&self, index: usize) -> bool {
        self.envelope.plan.events.segment.contains(index)
    }

    fn range(&self, value: Raw<'_>) -> Range<usize> {
        value.range_in(self.text)
    }

    fn replace(&mut self, value: Raw<'_>, text: String) {
        let range = self.range(value);
        self.splices.push((range, text));
    }

    /// Cuts one event out with one of the commas beside it: up to the next event, or, in the run that ends the array, from
    /// the end of the event before it.
    fn cut(&mut self, index: usize) {
        self.edits.cut += 1;
        let items = &self.reading.items;
        let own = self.range(items[index]);
        let is_last_run = self.last_kept.is_none_or(|last| last < index);
        let range = match (is_last_run, index.checked_sub(1), items.get(index + 1)) {
            (false, _, Some(next)) => own.start..self.range(*next).start,
            (true, Some(before), _) => self.range(items[before]).end..own.end,
            (_, _, _) => own,
        };
        self.splices.push((range, String::new()));
    }

    fn edit_event(&mut self, index: usize, item: Raw<'a>) {
        let event = Event::of(item);
        let mut tail = Tail { at: self.range(item).end - 1, members: event.members, text: String::new() };
        self.name(index, &event, &mut tail);
        self.locate(&event, &mut tail);
        if let Some(late) = self.late {
            self.edits.late_sent_at += u32::from(self.shift(late, &event, &mut tail));
        }
        if !tail.text.is_empty() {
            self.splices.push((tail.at..tail.at, tail.text));
        }
    }

    /// Names an event that has no messageId, as its other copy is named.
    fn name(&mut self, index: usize, event: &Event<'a>, tail: &mut Tail) {
        let is_named =
            event.message_id.is_some_and(|own| own.kind() == Kind::Number || own.string().is_some_and(|text| !text.trim().is_empty()));
        if is_named {
            return;
        }
        let assigned = format!("\"{}\"", MessageId::assigned(self.envelope.id, index).as_str());
        self.put(event.message_id, "messageId", assigned, tail);
        self.edits.message_id += 1;
    }

    /// Gives an event the client's IP where Segment would take that of the connection, which is ours.
    ///
    /// An event without a context is left without, when the batch has one: an own context might hide the batch's. There
    /// the batch's gets the IP.
    fn locate(&mut self, event: &Event<'a>, tail: &mut Tail) {
        let Some(ip) = self.client_ip else { return };
        let own = event.context.filter(|context| !context.is_null()).map(Context::of);
        let find = |member: fn(&Context<'a>) -> Option<Raw<'a>>| own.as_ref().and_then(member).or(self.shared.as_ref().and_then(member));
        let is_asked_for = find(|context| context.direct).is_some_and(|direct| direct.text() == "true");
        if find(|context| context.ip).is_some() || !(self.envelope.endpoint.is_client_side() || is_asked_for) {
            return;
        }
        match (own, self.shared) {
            (Some(own), _) if own.raw.kind() == Kind::Object => self.put_ip(own.raw, ip),
            (Some(_), _) => return,
            (None, Some(_)) => self.located_by_shared += 1,
            (None, None) => self.put(event.context, "context", format!("{{\"ip\":\"{ip}\"}}"), tail),
        }
        self.edits.client_ip += 1;
    }

    /// Puts an event's times right for a late delivery; says whether it had to.
    ///
    /// Segment dates an event by its own arrival less what lies between the client's two times. Each `sentAt`, the event's
    /// and the batch's, is moved by the delay: whichever Segment takes, the sum is that of a delivery in time, on a wrong
    /// clock too. An event without a time, which Segment would date at its arrival, gets the `sentAt` that it was sent
    /// with, by the same clock. Where there is no `sentAt`, arrival and delivery by our clock stand in.
    fn shift(&mut self, late: Late, event: &Event<'a>, tail: &mut Tail) -> bool {
        let shared = if self.is_single() { None } else { self.reading.frame.sent_at };
        let own = event.sent_at.and_then(read);
        let sent_at = own.or_else(|| shared.and_then(read));
        let is_unread = [event.sent_at, shared].into_iter().flatten().any(|value| !value.is_null()) && sent_at.is_none();
        let is_undated = event.timestamp.is_none_or(Raw::is_null) && event.original_timestamp.is_none_or(Raw::is_null);
        if is_undated {
            let dated = sent_at.map_or_else(|| quoted(late.received_at), |(raw, _)| raw.text().to_owned());
            self.put(event.timestamp, "timestamp", dated, tail);
        }
        match (own, sent_at) {
            (Some((raw, time)), _) => self.replace(raw, quoted(time.plus_millis(late.by_ms))),
            (None, None) if !is_unread => self.put(event.sent_at, "sentAt", quoted(late.now), tail),
            (None, _) => {}
        }
        is_undated || sent_at.is_some() || !is_unread
    }

    /// Writes a member: in the place of its null or void value, or at the end of its object.
    fn put(&mut self, present: Option<Raw<'_>>, name: &str, value: String, tail: &mut Tail) {
        match present {
            Some(present) => self.replace(present, value),
            None => tail.push(name, &value),
        }
    }

    fn put_ip(&mut self, context: Raw<'_>, ip: Ipv4Addr) {
        let mut tail = Tail { at: self.range(context).end - 1, members: context.members().count(), text: String::new() };
        self.put(context.get("ip"), "ip", format!("\"{ip}\""), &mut tail);
        if !tail.text.is_empty() {
            self.splices.push((tail.at..tail.at, tail.text));
        }
    }
}

impl<'a> Context<'a> {
    fn of(raw: Raw<'a>) -> Self {
        let mut context = Self { raw, ip: None, direct: None };
        for (key, value) in raw.members() {
            let stated = Some(value).filter(|value| !value.is_null());
            match key.name().as_ref() {
                "ip" => context.ip = stated,
                "direct" => context.direct = stated,
                _ => {}
            }
        }
        context
    }
}

impl<'a> Event<'a> {
    fn of(item: Raw<'a>) -> Self {
        let mut event = Self::default();
        for (key, value) in item.members() {
            event.members += 1;
            match key.name().as_ref() {
                "messageId" => event.message_id = Some(value),
                "context" => event.context = Some(value),
                "sentAt" => event.sent_at = Some(value),
                "timestamp" => event.timestamp = Some(value),
                "originalTimestamp" => event.original_timestamp = Some(value),
                _ => {}
            }
        }
        event
    }
}

impl Tail {
    fn push(&mut self, name: &str, value: &str) {
        if self.members > 0 {
            self.text.push(',');
        }
        self.members += 1;
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(value);
    }
}

fn read(raw: Raw<'_>) -> Option<(Raw<'_>, WallTime)> {
    Some((raw, WallTime::parse(&raw.string()?)?))
}

fn quoted(time: WallTime) -> String {
    format!("\"{time}\"")
}
