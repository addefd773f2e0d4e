//! The event's context: the batch's folded in (T4), the client's IP (T13, T14), traits (T19), and the channel that it
//! tells of (T23).

use std::net::IpAddr;

use super::{
    Ipv6, Rule, Rules, Settings, Traits,
    draft::{Draft, Field},
    object::{Object, Writer},
    translate::Facts,
};
use crate::model::{
    Endpoint, EventKind,
    json::{Kind, Raw},
};

/// A batch-level `context` or `integrations` above this many bytes is not folded in: with it no event would fit Segment's
/// 32 KB, and one body of a few megabytes could ask for gigabytes of copies.
const FOLDED_BYTES_MAX: usize = 32 * 1024;

/// The two contexts of an event.
struct Contexts<'a> {
    own: Option<Object<'a>>,
    shared: Option<Object<'a>>,
}

/// Settles `context` and `channel`.
pub(super) fn settle<'a>(draft: &mut Draft<'a>, facts: &Facts<'a>, settings: Settings, kind: Option<EventKind>) {
    let stated = draft.some(Field::Context);
    let is_foreign = stated.is_some_and(|context| context.kind() != Kind::Object);
    let shared = foldable(draft, facts.frame.context).filter(|_| !is_foreign);
    let contexts = Contexts { own: stated.map(Object::of), shared };
    settle_channel(draft, facts.endpoint, &contexts);
    if is_foreign {
        return;
    }
    let ip = absent_ip(draft, facts, settings, &contexts);
    let traits = absent_traits(draft, settings, kind, &contexts);
    let causes = [contexts.shared.as_ref().map(|_| Rule::FOLD), ip.map(|_| Rule::CLIENT_IP), traits.map(|_| Rule::TRAITS)];
    let causes: Rules = causes.into_iter().flatten().collect();
    if !causes.is_empty() {
        draft.set(Field::Context, write(&contexts, stated, ip, traits), causes);
    }
}

/// The members of a batch-level object that is worth folding in, and small enough.
pub(super) fn foldable<'a>(draft: &mut Draft<'_>, shared: Option<Raw<'a>>) -> Option<Object<'a>> {
    let shared = shared?;
    if shared.text().len() > FOLDED_BYTES_MAX {
        draft.noticed.insert(Rule::FOLD);
        return None;
    }
    Some(Object::of(shared)).filter(|object| !object.is_empty())
}

impl<'a> Contexts<'a> {
    /// A member of the context as folded; null counts as absent.
    fn some(&self, name: &str) -> Option<Raw<'a>> {
        let own = self.own.as_ref().and_then(|own| own.get(name));
        own.or_else(|| self.shared.as_ref().and_then(|shared| shared.get(name))).filter(|value| !value.is_null())
    }

    /// `library.name`
    fn library(&self) -> Option<Raw<'a>> {
        let of = |object: &Option<Object<'a>>| object.as_ref()?.get("library")?.get("name");
        of(&self.own).or_else(|| of(&self.shared))
    }
}

/// The IP to fill in: the client's, where Segment takes it from the connection and the event has none of its own.
fn absent_ip(draft: &mut Draft<'_>, facts: &Facts<'_>, settings: Settings, contexts: &Contexts<'_>) -> Option<IpAddr> {
    let ip = facts.client_ip?.to_canonical();
    let is_taken = facts.endpoint.is_client_side() || contexts.some("direct").is_some_and(|direct| direct.text() == "true");
    if !is_taken || contexts.some("ip").is_some() {
        return None;
    }
    if ip.is_ipv6() && settings.ipv6 == Ipv6::Drop {
        draft.noticed.insert(Rule::IPV6);
        return None;
    }
    Some(ip)
}

fn absent_traits<'a>(draft: &Draft<'a>, settings: Settings, kind: Option<EventKind>, contexts: &Contexts<'_>) -> Option<Raw<'a>> {
    if settings.traits == Traits::AsSent || kind != Some(EventKind::Identify) || contexts.some("traits").is_some() {
        return None;
    }
    draft.get(Field::Traits).filter(|traits| traits.kind() == Kind::Object)
}

/// The context as folded, with what is filled in at its end.
fn write(contexts: &Contexts<'_>, stated: Option<Raw<'_>>, ip: Option<IpAddr>, traits: Option<Raw<'_>>) -> String {
    let Contexts { own, shared } = contexts;
    let capacity = stated.map_or(0, |raw| raw.text().len()) + traits.map_or(0, |raw| raw.text().len()) + 64;
    let mut out = Writer::begin(capacity);
    // A null that is being filled in must not stay beside its value.
    let is_filled = |name: &str| (name == "ip" && ip.is_some()) || (name == "traits" && traits.is_some());
    for (key, value) in own.iter().flat_map(Object::members) {
        let name = key.name();
        match shared.as_ref().and_then(|shared| shared.get(&name)) {
            _ if is_filled(&name) => {}
            Some(below) => out.merged(key.text(), below, value),
            None => out.member(key.text(), value.text()),
        }
    }
    for (key, value) in shared.iter().flat_map(Object::members) {
        let name = key.name();
        if !is_filled(&name) && own.as_ref().is_none_or(|own| own.get(&name).is_none()) {
            out.member(key.text(), value.text());
        }
    }
    if let Some(ip) = ip {
        out.member("\"ip\"", &format!("\"{ip}\""));
    }
    if let Some(traits) = traits {
        out.member("\"traits\"", traits.text());
    }
    out.end_text()
}

/// Sets `channel` (protocol.md T23) when the event has none, or claims to be a warehouse's (`sources`), which RudderStack
/// treats in a way of its own.
fn settle_channel(draft: &mut Draft<'_>, endpoint: Endpoint, contexts: &Contexts<'_>) {
    let own = draft.get(Field::Channel).and_then(Raw::string);
    let is_usable = own.is_some_and(|text| !text.trim().is_empty() && !text.trim().eq_ignore_ascii_case("sources"));
    if is_usable {
        return;
    }
    let library = contexts.library().and_then(Raw::string);
    draft.set(Field::Channel, channel(library.as_deref(), endpoint), Rule::CHANNEL);
}

/// The channel of a library, by the words in its name; of one whose name says nothing, by its path (protocol.md 1.2): only
/// analytics.js uses the one-letter paths and pixels, and besides it only apps use `/v1/b`.
fn channel(library: Option<&str>, endpoint: Endpoint) -> &'static str {
    let (mut is_mobile, mut is_web, mut is_node) = (false, false, false);
    for part in library.unwrap_or_default().as_bytes().split(|b| !b.is_ascii_alphanumeric()) {
        let is = |words: &[&str]| words.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()));
        is_mobile |= is(&["ios", "android", "kotlin", "swift", "native", "flutter"]);
        is_web |= is(&["js", "next", "ajs", "web", "amp"]);
        is_node |= is(&["node"]);
    }
    if is_mobile {
        "\"mobile\""
    } else if is_web && !is_node {
        "\"web\""
    } else {
        match endpoint {
            Endpoint::ClientSingle(_) | Endpoint::Pixel(_) => "\"web\"",
            Endpoint::ClientBatch => "\"mobile\"",
            Endpoint::Batch | Endpoint::Import | Endpoint::Single(_) | Endpoint::Webhook => "\"server\"",
        }
    }
}
