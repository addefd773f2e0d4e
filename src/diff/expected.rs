//! The places where the vendors are expected to differ (protocol.md 5), in what way, and whether a pair keeps to that.

use std::{borrow::Cow, net::IpAddr};

use super::{
    Arrival, MismatchKind, Origin, Reason,
    integrations::{self, Verdict},
    number::{Likeness, likeness},
    walk::{Sides, Walk},
};
use crate::model::{
    WallTime,
    json::{self, Kind, Raw},
};

/// What is expected of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Anything: whatever differs here is noise.
    Anything(Reason),
    /// That RudderStack has nothing here.
    Stripped(Reason),
    /// The moment of the event, as computed.
    Timestamp,
    /// The moment as the client states it.
    OriginalTimestamp,
    /// When the client sent it.
    SentAt,
    /// Destinations: on and off count, names and options do not.
    Integrations,
    /// The client's address.
    Ip,
    /// An id that may be a number here and a string there.
    Id,
    /// The id of somebody unknown, which may be empty.
    AnonymousId,
    /// The id that an alias joins to another.
    PreviousId,
    /// What RudderStack's own SDK adds to the properties of a page call.
    PageDefault,
    /// Traits inside of the context.
    ContextTraits,
    /// The context: absent is the same as without members.
    Context,
    /// Free members: absent is the same as none.
    Members,
}

/// What is expected of a place, named as [`super::Mismatch::group`] names it; None: that both say the same there.
pub(super) fn at(place: &str, origin: Origin) -> Option<Expected> {
    let own = match place {
        "receivedAt"
        | "rudderId"
        | "request_ip"
        | "version"
        | "projectId"
        | "metadata"
        | "recordId"
        | "context.direct"
        | "context.sourceId"
        | "context.sourceType"
        | "context.destinationId"
        | "context.destinationType"
        | "context.sources" => Expected::Anything(Reason::VendorField),
        "channel" => Expected::Anything(Reason::Channel),
        "_metadata" => Expected::Anything(Reason::SdkMetadata),
        "writeKey" => Expected::Anything(Reason::WriteKey),
        "header" | "fullPath" | "appendPath" => Expected::Stripped(Reason::WebhookStripped),
        "timestamp" => Expected::Timestamp,
        "originalTimestamp" => Expected::OriginalTimestamp,
        "sentAt" => Expected::SentAt,
        "integrations" => Expected::Integrations,
        "context.ip" => Expected::Ip,
        "userId" => Expected::Id,
        "messageId" if origin == Origin::SameEvent => Expected::Id,
        "anonymousId" => Expected::AnonymousId,
        "previousId" => Expected::PreviousId,
        "context.traits" => Expected::ContextTraits,
        "context" => Expected::Context,
        "properties" | "traits" => Expected::Members,
        _ if origin == Origin::RudderStackSdk && is_of_sdk(place) => Expected::Anything(Reason::OtherSdk),
        _ if origin == Origin::RudderStackSdk && place.strip_prefix("properties.").is_some_and(is_page_default) => Expected::PageDefault,
        _ => return None,
    };
    Some(own)
}

/// What RudderStack's own SDK says otherwise than Segment's.
fn is_of_sdk(place: &str) -> bool {
    matches!(place, "messageId" | "context.library" | "context.screen" | "context.app" | "context.os")
        || matches!(place, "context.sessionId" | "context.sessionStart" | "context.userAgentData")
        || place.strip_prefix("context.page.").is_some_and(is_told_by_one)
}

/// What it tells of a page, and Segment's does not.
fn is_told_by_one(name: &str) -> bool {
    matches!(name, "initial_referrer" | "initial_referring_domain" | "referring_domain" | "tab_url")
}

/// What both put into the properties of a page call, each in its way.
fn is_page_default(name: &str) -> bool {
    is_told_by_one(name) || matches!(name, "path" | "referrer" | "search" | "title" | "url")
}

impl<'a> Walk<'a, '_> {
    /// Compares what both have at a place where they are expected to differ.
    pub(super) fn visit_expecting(&mut self, expected: Expected, sides: Sides<'a>) {
        let reason = match expected {
            Expected::Anything(reason) if self.differs(sides) => Some(reason),
            Expected::Anything(_) => return,
            Expected::Integrations => return self.integrations(sides),
            Expected::Context | Expected::Members => return self.members(expected, sides),
            Expected::AnonymousId => return self.anonymous_id(sides),
            Expected::Stripped(reason) => sides.rudderstack.is_none().then_some(reason),
            Expected::Timestamp | Expected::OriginalTimestamp | Expected::SentAt => return self.time(expected, sides),
            Expected::Ip => self.ip(sides),
            Expected::Id => return self.id(sides),
            Expected::PreviousId => self.previous_id(sides),
            Expected::PageDefault => (self.rudderstack_text("type").as_deref() == Some("page")).then_some(Reason::OtherSdk),
            Expected::ContextTraits => match self.traits_copied(sides) {
                None => return self.members(expected, sides),
                some => some,
            },
        };
        match reason {
            Some(reason) => self.hit(reason),
            None => self.compare(sides),
        }
    }

    /// An object of which absent means the same as without members.
    fn members(&mut self, expected: Expected, sides: Sides<'a>) {
        let Some((segment, rudderstack)) = sides.as_objects() else { return self.compare(sides) };
        if sides.both().is_some() {
            return self.objects(segment, rudderstack);
        }
        if !self.differs(Sides { segment: Some(segment), rudderstack: Some(rudderstack) }) {
            self.hit(Reason::EmptyAbsent);
        } else if expected == Expected::Context {
            // What either vendor adds to a context is expected there, one by one.
            self.objects(segment, rudderstack);
        } else {
            self.compare(sides);
        }
    }

    fn time(&mut self, expected: Expected, sides: Sides<'a>) {
        let Some((segment, rudderstack)) = sides.moments() else {
            let is_added = sides.segment.is_none() && expected != Expected::Timestamp;
            return if is_added { self.hit(Reason::TimesAdded) } else { self.compare(sides) };
        };
        let shift = rudderstack.millis_since(segment);
        let is_close = shift.unsigned_abs() <= self.noise.timestamp_tolerance_ms.unsigned_abs();
        match expected {
            _ if shift == 0 => self.hit(Reason::TimeForm),
            Expected::Timestamp | Expected::SentAt if is_close => self.hit(Reason::TimeTolerance),
            Expected::SentAt if shift < 0 => self.hit(Reason::SentAtDelay),
            Expected::OriginalTimestamp if is_close && self.is_undated(segment, rudderstack) => self.hit(Reason::Undated),
            _ => self.report(MismatchKind::Time, sides),
        }
    }

    /// Whether each side dates the event at the moment that it calls the client's: it had none from the client.
    fn is_undated(&self, segment: WallTime, rudderstack: WallTime) -> bool {
        self.whole("timestamp").moments() == Some((segment, rudderstack))
    }

    fn ip(&self, sides: Sides<'a>) -> Option<Reason> {
        let is_direct = self.pair.segment.get("context").and_then(|context| context.get("direct")).is_some_and(|raw| raw.text() == "true");
        let channel = self.pair.segment.get("channel").and_then(Raw::string);
        let is_of_server = match self.pair.arrival {
            Arrival::Client => false,
            Arrival::Server => true,
            Arrival::Unknown => channel.as_deref() == Some("server"),
        };
        if is_of_server && !is_direct {
            return Some(Reason::ServerIp);
        }
        let ip = sides.rudderstack.filter(|_| sides.segment.is_none()).and_then(Raw::string)?.parse::<IpAddr>().ok()?;
        ip.to_canonical().is_ipv6().then_some(Reason::Ipv6)
    }

    /// An id that is the same as a number and as a string.
    fn id(&mut self, sides: Sides<'a>) {
        let digits = |raw: Raw<'a>| raw.string().filter(|text| json::parse(text.as_bytes()).is_ok_and(|raw| raw.kind() == Kind::Number));
        let alike = match sides.both().map(|(a, b)| (a.kind(), a, b.kind(), b)) {
            Some((Kind::Number, number, Kind::String, text) | (Kind::String, text, Kind::Number, number)) => {
                digits(text).map(|digits| likeness(number.text(), digits.trim()))
            }
            _ => None,
        };
        match alike {
            Some(Likeness::Same) => self.hit(Reason::IdForm),
            Some(Likeness::Rounded) => self.report(MismatchKind::Precision, sides),
            Some(Likeness::Different) | None => self.compare(sides),
        }
    }

    fn anonymous_id(&mut self, sides: Sides<'a>) {
        let some = sides.map(|raw| Some(raw).filter(|raw| raw.text() != "\"\""));
        let is_message_id = || some.rudderstack.and_then(Raw::string).is_some_and(|id| Some(id) == self.rudderstack_text("messageId"));
        if some.segment.is_none() && some.rudderstack.is_none() {
            self.hit(Reason::EmptyAbsent);
        } else if some.segment.is_none() && is_message_id() {
            self.hit(Reason::Idless);
        } else {
            self.compare(some);
        }
    }

    fn previous_id(&self, sides: Sides<'a>) -> Option<Reason> {
        let is_absent = sides.segment.is_none_or(|raw| raw.string().is_some_and(|text| text.trim().is_empty()));
        let is_filled_in = sides.rudderstack.and_then(Raw::string).is_some_and(|id| Some(id) == self.rudderstack_text("anonymousId"));
        (is_absent && is_filled_in && self.rudderstack_text("type").as_deref() == Some("alias")).then_some(Reason::PreviousId)
    }

    fn traits_copied(&mut self, sides: Sides<'a>) -> Option<Reason> {
        let copy = sides.rudderstack.filter(|_| sides.segment.is_none())?;
        let traits = self.pair.rudderstack.get("traits").filter(|raw| !raw.is_null())?;
        (!self.differs(Sides { segment: Some(traits), rudderstack: Some(copy) })).then_some(Reason::TraitsCopied)
    }

    fn integrations(&mut self, sides: Sides<'a>) {
        let named = integrations::compare(sides.segment, sides.rudderstack, self.noise.names);
        // Where nobody says anything, that is all there is to tell of texts that differ.
        let mut is_reworded = named.is_empty() && !sides.have_one_text();
        for named in named {
            self.found.looked_at += 1;
            self.enter_member(&named.name);
            match (named.verdict, self.ignored_by()) {
                (Verdict::Same, _) => {}
                (Verdict::Reworded, _) => is_reworded = true,
                (Verdict::Default, _) => self.hit(Reason::SalesforceDefault),
                (Verdict::Differs, Some(pattern)) => self.hit_at(Reason::Ignored, pattern.text()),
                (Verdict::Differs, None) => {
                    self.report(MismatchKind::Value, Sides { segment: named.segment, rudderstack: named.rudderstack });
                }
            }
            self.leave();
        }
        if is_reworded {
            self.hit(Reason::IntegrationNames);
        }
    }

    /// What both have as a member of the whole event.
    fn whole(&self, name: &str) -> Sides<'a> {
        Sides { segment: self.pair.segment.get(name), rudderstack: self.pair.rudderstack.get(name) }
    }

    /// What RudderStack has as a member of the whole event, when that is a string.
    fn rudderstack_text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.pair.rudderstack.get(name).and_then(Raw::string)
    }
}
