//! `[[source]]`: each source with its keys and its route.

use super::{
    Code,
    key::{self, Key},
    rules, schema,
    section::Section,
    session::{Session, Source as At},
    tree::{Item, Node, Table},
    value::{Fault, Text, text},
};
use crate::{
    model::{PerDestination, Percent, RateLimit, SourceId},
    routing::{Region, Route, RouteError, Source, Stage},
};

/// A source and the places that checks point at.
struct Placed {
    source: Source,
    at: At,
    keys_at: Vec<At>,
}

/// Whether the file says where RudderStack is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DataPlane {
    Known,
    Unknown,
}

/// Reads all sources and compares them.
pub(super) fn read(session: &mut Session<'_>, root: &mut Section, rudderstack_known: bool) -> Vec<Source> {
    let data_plane = if rudderstack_known { DataPlane::Known } else { DataPlane::Unknown };
    let mut placed: Vec<Placed> = Vec::new();
    for table in tables(session, root) {
        if let Some(source) = source(session, table, data_plane) {
            compare(session, &placed, &source);
            placed.push(source);
        }
    }
    placed.into_iter().map(|placed| placed.source).collect()
}

fn tables(session: &mut Session<'_>, root: &mut Section) -> Vec<Table> {
    let Some(entry) = root.take("source") else { return Vec::new() };
    let Node::List(items) = entry.item.node else {
        let what = format!("`source` takes a list of tables, not {}", entry.item.node.kind());
        session.error(&At::File(entry.item.spot), Code::WrongType, what, "write [[source]] with two brackets");
        return Vec::new();
    };
    let mut tables = Vec::new();
    for item in items {
        match item.node {
            Node::Table(table) => tables.push(table),
            other => session.error(
                &At::File(item.spot),
                Code::WrongType,
                format!("`source` takes tables, not {}", other.kind()),
                "write [[source]] above its keys",
            ),
        }
    }
    tables
}

/// One source; None when it has no name or id to speak of it by. What it lacks is told.
fn source(session: &mut Session<'_>, table: Table, data_plane: DataPlane) -> Option<Placed> {
    let header = At::File(table.spot);
    let given = table
        .entries
        .iter()
        .find(|entry| entry.key == "name")
        .and_then(|entry| text(&entry.item.node, "").ok())
        .unwrap_or_default()
        .to_owned();
    let label = if given.is_empty() { "[[source]]".to_owned() } else { format!("[[source]] \"{given}\"") };
    let mut section = Section::named(format!("source.{given}"), label, table);
    let (Text(name), name_at) = section.placed(session, "name", Text(None));
    if name.is_none() {
        session.error(&header, Code::Missing, "[[source]] needs `name`", "add name = \"...\", a short one: it labels metrics");
    }
    let id = id(session, &mut section, name.as_deref(), &name_at);
    let region = section.value(session, "region", Region::default());
    let (route, route_at) = route(session, &mut section);
    let rules = rules::read(session, &mut section);
    let segment_keys = keys(session, &mut section, "segment_write_key");
    let rudderstack_keys = keys(session, &mut section, "rudderstack_write_key");
    let rate_limits = PerDestination {
        segment: section.value(session, "segment_rate_limit", RateLimit::None),
        rudderstack: section.value(session, "rudderstack_rate_limit", RateLimit::None),
    };
    require_keys(session, &section, segment_keys.as_deref(), rudderstack_keys.as_deref());
    if route.rudderstack() > Percent::ZERO {
        require_rudderstack(session, &section, &route_at, rudderstack_keys.as_deref(), data_plane);
    } else if let Some((_, at)) = rules.iter().find(|(rule, _)| rule.route.rudderstack() > Percent::ZERO) {
        require_rudderstack(session, &section, at, rudderstack_keys.as_deref(), data_plane);
    }
    section.finish(session);
    let (segment_keys, rudderstack_keys) = (segment_keys.unwrap_or_default(), rudderstack_keys.unwrap_or_default());
    let keys_at = segment_keys.iter().map(|key| key.at.clone()).collect();
    let source = Source {
        id: id?,
        name: name?,
        segment_keys: segment_keys.into_iter().map(|key| key.secret).collect(),
        rudderstack_key: rudderstack_keys.into_iter().next().map(|key| key.secret),
        region,
        is_retired: false,
        route,
        rules: rules.into_iter().map(|(rule, _)| rule).collect(),
        rate_limits,
    };
    Some(Placed { source, at: name_at, keys_at })
}

/// The id: the one given, else the name.
fn id(session: &mut Session<'_>, section: &mut Section, name: Option<&str>, name_at: &At) -> Option<SourceId> {
    let (Text(given), at) = section.placed(session, "id", Text(name.map(str::to_owned)));
    let (text, by_name) = (given?, matches!(at, At::Outside(_)));
    match SourceId::parse(&text) {
        Ok(id) => Some(id),
        Err(error) => {
            let at = if by_name { name_at } else { &at };
            let fix =
                if by_name { format!("add an id for it: id = \"{}\"", slug(&text)) } else { format!("write id = \"{}\"", slug(&text)) };
            session.error(at, Code::BadId, format!("`{text}` is no id: {error}"), fix);
            None
        }
    }
}

/// The nearest text that is an id.
fn slug(text: &str) -> String {
    let dashed: String = text
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '.') { char.to_ascii_lowercase() } else { '-' })
        .collect();
    let words: Vec<&str> = dashed.split('-').filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("-").chars().take(64).collect();
    if slug.is_empty() { "source-1".to_owned() } else { slug }
}

/// The keys under a name; None when the name is not there.
fn keys(session: &mut Session<'_>, section: &mut Section, name: &'static str) -> Option<Vec<Key>> {
    let path = section.key(name);
    session.ask(path.clone(), schema::write_key(), None);
    let entry = section.take(name)?;
    if matches!(&entry.item.node, Node::List(items) if items.is_empty()) {
        session.error(&At::File(entry.item.spot), Code::Missing, format!("`{path}` is an empty list"), "write at least one key");
    }
    Some(key::read(session, &path, entry.item))
}

fn require_keys(session: &mut Session<'_>, section: &Section, segment: Option<&[Key]>, rudderstack: Option<&[Key]>) {
    if segment.is_none() {
        let what = format!("{} needs `segment_write_key`", section.label());
        session.error(
            &section.place(),
            Code::Missing,
            what,
            "add segment_write_key = { env = \"SEGMENT_WRITE_KEY\" }: it says whose events are whose",
        );
    }
    if let Some([_, second, ..]) = rudderstack {
        let what = format!("`{}` takes one key", section.key("rudderstack_write_key"));
        session.error(&second.at.clone(), Code::WrongValue, what, "keep the current one: only Segment's keys are rotated in clients");
    }
}

/// A route with a share of RudderStack needs its key and its address.
fn require_rudderstack(session: &mut Session<'_>, section: &Section, route_at: &At, keys: Option<&[Key]>, data_plane: DataPlane) {
    let label = section.label();
    if keys.is_none() {
        let what = format!("the route of {label} sends events to RudderStack, but it has no `rudderstack_write_key`");
        session.error(
            route_at,
            Code::NoRudderKey,
            what,
            "add rudderstack_write_key = { env = \"RUDDER_WRITE_KEY\" }, or use route = \"segment-only\"",
        );
    }
    if data_plane == DataPlane::Unknown {
        let what = format!("the route of {label} sends events to RudderStack, but [rudderstack] has no `url`");
        session.error(route_at, Code::NoRudderUrl, what, "add [rudderstack] with url = \"https://...\", or use route = \"segment-only\"");
    }
}

/// The route: a stage's name or two shares, and what Segment keeps of a cutover for comparison.
fn route(session: &mut Session<'_>, section: &mut Section) -> (Route, At) {
    let verify = section.value(session, "verify", Percent::ZERO);
    let default = Route::from(Stage::SegmentOnly);
    let path = section.key("route");
    session.ask(path.clone(), schema::route(), Some(Stage::SegmentOnly.to_string()));
    let Some(entry) = section.take("route") else {
        let at = At::Outside(super::Origin::Default);
        session.record(path, Stage::SegmentOnly.to_string(), &at);
        return (default.verifying(verify), section.place());
    };
    let at = At::File(entry.item.spot);
    match shares(&entry.item) {
        Ok((shares, shown)) => {
            session.record(path, shown, &at);
            (shares.verifying(verify), at)
        }
        Err(fault) => {
            section.refuse(session, "route", &at, fault);
            (default, at)
        }
    }
}

/// A route without a verify share, and how it is shown.
pub(super) fn shares(item: &Item) -> Result<(Route, String), Fault> {
    match &item.node {
        Node::Text(name) => {
            let stage: Stage = name.parse().map_err(|error| bad_route(&error))?;
            Ok((stage.into(), stage.to_string()))
        }
        Node::Table(table) => {
            let share = |name: &str| {
                let entry = table.entries.iter().find(|entry| entry.key == name);
                entry.map_or(
                    Err(Fault { code: Code::BadRoute, what: format!("lacks the share `{name}`"), fix: ROUTES.to_owned() }),
                    |entry| super::value::Value::read(&entry.item.node),
                )
            };
            let (segment, rudderstack): (Percent, Percent) = (share("segment")?, share("rudderstack")?);
            if let Some(other) = table.entries.iter().find(|entry| !["segment", "rudderstack"].contains(&entry.key.as_str())) {
                let what = format!("has a part `{}` that no route has", other.key);
                return Err(Fault { code: Code::BadRoute, what, fix: ROUTES.to_owned() });
            }
            let route = Route::new(segment, rudderstack, Percent::ZERO).map_err(|error| bad_route(&error))?;
            Ok((route, format!("segment {segment}, rudderstack {rudderstack}")))
        }
        other => Err(Fault { code: Code::WrongType, what: format!("takes a route's name, not {}", other.kind()), fix: ROUTES.to_owned() }),
    }
}

fn bad_route(error: &RouteError) -> Fault {
    let what = match error {
        RouteError::Unknown(text) => format!("`{text}` is no route"),
        gap @ RouteError::Gap { .. } => format!("is no route: {gap}"),
    };
    Fault { code: Code::BadRoute, what, fix: ROUTES.to_owned() }
}

/// Tells what a source shares with an earlier one, or has twice.
fn compare(session: &mut Session<'_>, earlier: &[Placed], new: &Placed) {
    let twin = earlier.iter().find(|other| other.source.id == new.source.id || other.source.name == new.source.name);
    if let Some(other) = twin {
        let same_name = other.source.name == new.source.name;
        let shared = if same_name { format!("name `{}`", new.source.name) } else { format!("id `{}`", new.source.id) };
        let fix = format!("give each its own; the other one stands in {}", place_of(session, &other.at));
        session.error(&new.at, Code::SameSource, format!("two sources have the {shared}"), fix);
    }
    for (index, (key, at)) in new.source.segment_keys.iter().zip(&new.keys_at).enumerate() {
        if let Some(other) = earlier.iter().find(|other| other.source.segment_keys.contains(key)) {
            let what =
                format!("the sources `{}` and `{}` share a Segment write key (ending {})", other.source.name, new.source.name, key.hint());
            session.error(
                at,
                Code::SameKey,
                what,
                "each key belongs to one source: compare them in Segment > Sources > (source) > Settings",
            );
        } else if new.source.segment_keys[..index].contains(key) {
            session.error(
                at,
                Code::SameKey,
                format!("the source `{}` lists a Segment write key twice", new.source.name),
                "remove one of the two",
            );
        }
    }
}

fn place_of(session: &Session<'_>, at: &At) -> String {
    match at {
        At::File(spot) => session.origin(*spot).to_string(),
        At::Outside(origin) => origin.to_string(),
    }
}

/// The routes there are.
const ROUTES: &str = "write segment-only, shadow=25%, both, cutover=25%, rudderstack-only, or { segment = \"75%\", rudderstack = \"50%\" }";
