//! `[[source.rule]]`: what of a source goes another way.

use serde_json::json;

use super::{
    Code, schema,
    section::Section,
    session::{Session, Source as At},
    sources::shares,
    tree::{Item, Node},
    value::{Fault, Value, text},
};
use crate::{
    model::{EventKind, Percent},
    routing::{Conditions, Pattern, Route, Rule, Software},
};

/// What a rule of a file needs to say.
const EXAMPLE: &str = "write for example app = \"android < 4.12\" and route = \"segment-only\"";

/// Reads the rules of a source, in order, each with the place of its route. `path` and `label` are the source's.
pub(super) fn read(session: &mut Session<'_>, source: &mut Section) -> Vec<(Rule, At)> {
    let Some(entry) = source.take("rule") else { return Vec::new() };
    let Node::List(items) = entry.item.node else {
        let what = format!("`rule` of {} takes a list of tables, not {}", source.label(), entry.item.node.kind());
        session.error(&At::File(entry.item.spot), Code::WrongType, what, "write [[source.rule]] with two brackets");
        return Vec::new();
    };
    let numbered = (1_usize..).zip(items);
    numbered.filter_map(|(number, item)| rule(session, source, number, item)).collect()
}

fn rule(session: &mut Session<'_>, source: &Section, number: usize, item: Item) -> Option<(Rule, At)> {
    let at = At::File(item.spot);
    let label = format!("rule {number} of {}", source.label());
    let Node::Table(table) = item.node else {
        session.error(
            &at,
            Code::WrongType,
            format!("{label} is no table but {}", item.node.kind()),
            "write [[source.rule]] above its keys",
        );
        return None;
    };
    let mut section = Section::named(format!("{}.{number}", source.key("rule")), label.clone(), table);
    session.ask(section.key("type"), schema::event_types(), None);
    let kinds = given(session, &mut section, "type", kinds);
    for name in ["event", "library", "app", "platform"] {
        session.ask(section.key(name), json!({ "type": "string", "minLength": 1 }), None);
    }
    session.ask(section.key("verify"), Percent::schema(), None);
    session.ask(section.key("route"), schema::route(), None);
    let event = given(session, &mut section, "event", pattern);
    let library = given(session, &mut section, "library", software);
    let app = given(session, &mut section, "app", software);
    let platform = given(session, &mut section, "platform", pattern);
    let verify = given(session, &mut section, "verify", Percent::read).flatten().unwrap_or(Percent::ZERO);
    let route = route(session, &mut section, &at, &label);
    section.finish(session);
    let asked = [kinds.is_some(), event.is_some(), library.is_some(), app.is_some(), platform.is_some()];
    if asked.iter().all(|asked| !asked) {
        session.error(&at, Code::Missing, format!("{label} has no condition, and would match everything"), EXAMPLE);
        return None;
    }
    let (route, route_at) = route?;
    // A condition that cannot be read is told, and makes no rule that would match more than was meant.
    let when = Conditions {
        kinds: settled(kinds)?.unwrap_or_default(),
        event: settled(event)?,
        library: settled(library)?,
        app: settled(app)?,
        platform: settled(platform)?,
    };
    Some((Rule { when, route: route.verifying(verify) }, route_at))
}

/// A condition, if there is one; the outer None: it is there, and cannot be read.
#[expect(clippy::option_option, reason = "absent, or there and unreadable")]
fn settled<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

/// A value that need not be there. The inner None: it is there and cannot be read; that is told.
#[expect(clippy::option_option, reason = "absent, or there and unreadable")]
fn given<T>(
    session: &mut Session<'_>,
    section: &mut Section,
    name: &'static str,
    read: impl FnOnce(&Node) -> Result<T, Fault>,
) -> Option<Option<T>> {
    let entry = section.take(name)?;
    let at = At::File(entry.item.spot);
    match read(&entry.item.node) {
        Ok(value) => {
            session.record(section.key(name), shown(&entry.item.node), &at);
            Some(Some(value))
        }
        Err(fault) => {
            section.refuse(session, name, &at, fault);
            Some(None)
        }
    }
}

fn route(session: &mut Session<'_>, section: &mut Section, header: &At, label: &str) -> Option<(Route, At)> {
    let Some(entry) = section.take("route") else {
        session.error(header, Code::Missing, format!("{label} needs `route`"), EXAMPLE);
        return None;
    };
    let at = At::File(entry.item.spot);
    match shares(&entry.item) {
        Ok((route, shown)) => {
            session.record(section.key("route"), shown, &at);
            Some((route, at))
        }
        Err(fault) => {
            section.refuse(session, "route", &at, fault);
            None
        }
    }
}

fn kinds(node: &Node) -> Result<Vec<EventKind>, Fault> {
    let names = match node {
        Node::List(items) => items.iter().map(|item| text(&item.node, TYPES)).collect::<Result<Vec<_>, _>>()?,
        node => vec![text(node, TYPES)?],
    };
    let kind = |name: &str| EventKind::parse(name).ok_or_else(|| Fault::value(format!("`{name}` is no type of event"), TYPES));
    let kinds = names.into_iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    if kinds.is_empty() { Err(Fault::value("is an empty list", TYPES)) } else { Ok(kinds) }
}

const TYPES: &str = "write track, identify, page, screen, group or alias, or a list of them";

fn pattern(node: &Node) -> Result<Pattern, Fault> {
    let fix = "write a name, with * for anything: \"Order *\"";
    Pattern::new(text(node, fix)?).ok_or_else(|| Fault::value("is empty", fix))
}

fn software(node: &Node) -> Result<Software, Fault> {
    let fix = "write a name, a range of versions, or both: \"android < 4.12\"";
    text(node, fix)?.parse().map_err(|error: crate::routing::RangeError| Fault::value(error.to_string(), fix))
}

/// As the file has it.
fn shown(node: &Node) -> String {
    match node {
        Node::List(items) => items.iter().filter_map(|item| text(&item.node, "").ok()).collect::<Vec<_>>().join(", "),
        node => text(node, "").unwrap_or_default().to_owned(),
    }
}
