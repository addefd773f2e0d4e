//! What each side gets of an event, and where that differs.

use axum::{
    extract::{Extension, Path, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::Query,
    lanes::source_id,
    mask::{masked, masked_at},
    server::Hub,
};
use crate::{
    control::{ReplayError, SentDifference, SentEvent},
    dialect::Rule,
    diff::DifferenceKind,
    model::Role,
    wire::{self, ProblemCode, schema},
};

/// RudderStack's path for all events (protocol.md T8).
const RUDDER_PATH: &str = "/v1/batch";

/// What `GET /v1/events/{message_id}` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    /// Only an event of this source, by id or name.
    source: Option<String>,
    /// Whether to show what tells of a person: takes the role `reveal`.
    reveal: Option<bool>,
}

/// What `GET /v1/diffs` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only events of this source, by id or name.
    source: Option<String>,
}

/// What each side gets of one event: the newest with that messageId in the newest two volumes of the journal.
#[utoipa::path(
    get,
    path = "/v1/events/{message_id}",
    tag = "state",
    params(("message_id" = String, Path, description = "Its messageId"), Shown),
    responses((status = 200, body = wire::SentEvent), Problems)
)]
pub(super) async fn event(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(message_id): Path<String>,
    Query(asked): Query<Shown>,
) -> Result<Response, Refusal> {
    let reveal = asked.reveal.unwrap_or(false);
    if reveal {
        caller.must(Role::Reveal)?;
    }
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let sent = hub.replayer.sent(message_id, source).await.map_err(|error| unreadable(&error))?;
    let sent = sent.ok_or_else(|| {
        let fix = "Older events are in the journal too: segue journal export. Was it sent through this sidecar?";
        Refusal::new(ProblemCode::NotFound, "no event with that messageId is in the newest two volumes of the journal", fix)
    })?;
    if reveal {
        tracing::info!(event = "event_revealed", source = %sent.source, uid = caller.uid, "an operator looked at an event unmasked");
    }
    Ok(good(&told(&hub, &sent, reveal)))
}

/// Where both sides differ in what they are sent, over the newest 5,000 events of the newest two volumes of the journal.
#[utoipa::path(get, path = "/v1/diffs", tag = "state", params(Asked), responses((status = 200, body = wire::SentDiffs), Problems))]
pub(super) async fn diffs(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let found = hub.replayer.diffs(source.clone()).await.map_err(|error| unreadable(&error))?;
    let groups = found.groups.into_iter().map(|group| wire::DiffGroup {
        source: group.source.to_string(),
        path: hub.without_keys(&group.path),
        kind: kind(group.kind).to_owned(),
        rules: words(&group.rules),
        noise: group.is_noise,
        events: group.events,
        apps: group.apps.into_iter().map(|(app, _)| hub.without_keys(&app)).collect(),
        samples: group.samples,
    });
    Ok(good(&wire::SentDiffs {
        schema: schema::SENT_DIFFS.to_owned(),
        source: source.map(|source| source.to_string()),
        since: found.since.map(|since| since.to_string()),
        events: found.events,
        equal: found.equal,
        refused: found.refused,
        groups: groups.collect(),
    }))
}

fn unreadable(error: &ReplayError) -> Refusal {
    Refusal::new(ProblemCode::Disk, format!("the journal cannot be read: {error}"), "See the log for what the disk says.")
}

fn told(hub: &Hub, sent: &SentEvent, reveal: bool) -> wire::SentEvent {
    let shown = |text: &str| serde_json::from_str::<Value>(text).ok().map(|event| hub.event_without_keys(event));
    let event = |copy: &Option<String>| copy.as_deref().and_then(shown).map(|event| if reveal { event } else { masked(event) });
    let copy = |planned: bool, path: &str, copy: &Option<String>, refusal: Option<String>, rules: &[Rule]| wire::SentCopy {
        planned,
        path: path.to_owned(),
        event: event(copy),
        refusal,
        rules: words(rules),
    };
    // A copy may leave the type to its path.
    let copies = [&sent.copies.rudderstack, &sent.copies.segment].map(|copy| copy.as_deref().and_then(shown));
    let first = |name: &str| copies.iter().flatten().find_map(|event| Some(event.get(name)?.as_str()?.to_owned()));
    // A query may carry a pixel's whole event.
    let path = sent.path.split('?').next().unwrap_or_default();
    wire::SentEvent {
        schema: schema::SENT_EVENT.to_owned(),
        source: sent.source.to_string(),
        message_id: sent.message_id.clone(),
        kind: first("type"),
        name: first("event").or_else(|| first("name")),
        received_at: sent.received_at.to_string(),
        app: sent.app.as_deref().map(|app| hub.without_keys(app)),
        revision: sent.revision.0,
        segment: copy(sent.planned.segment, path, &sent.copies.segment, None, &sent.rules.segment),
        rudderstack: copy(sent.planned.rudderstack, RUDDER_PATH, &sent.copies.rudderstack, sent.refusal.clone(), &sent.rules.rudderstack),
        differences: sent.differences.iter().map(|difference| differs(hub, difference, reveal)).collect(),
        masked: !reveal,
    }
}

fn differs(hub: &Hub, difference: &SentDifference, reveal: bool) -> wire::Difference {
    let value = |text: &Option<String>| {
        let value = hub.event_without_keys(exact(text.as_deref()?));
        Some(if reveal { value } else { masked_at(&difference.path, value) })
    };
    wire::Difference {
        path: hub.without_keys(&difference.path),
        kind: kind(difference.kind).to_owned(),
        segment: value(&difference.segment),
        rudderstack: value(&difference.rudderstack),
        rules: words(&difference.rules),
        noise: difference.is_noise,
    }
}

/// The value; a number that a double would change is told as the text that it is written as.
pub(super) fn exact(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Number(number)) if number.to_string() != text => Value::from(text),
        Ok(value) => value,
        Err(_) => Value::from(text),
    }
}

const fn kind(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::OnlyLeft => "only_segment",
        DifferenceKind::OnlyRight => "only_rudderstack",
        DifferenceKind::Type => "type",
        DifferenceKind::Value => "value",
    }
}

/// `T13 client IP`.
fn words(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(|rule| format!("{rule} {}", rule.name())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_masked_as_where_it_stands() {
        assert_eq!(masked_at("context.traits.plan", json!("gold")), json!("***"));
        assert_eq!(masked_at("properties.items[0].price", json!(3)), json!(3));
        assert_eq!(masked_at("userId", json!("u1")), json!("***"));
        assert_eq!(masked_at("context", json!({ "ip": "203.0.113.9", "locale": "en" })), json!({ "ip": "***", "locale": "en" }));
    }

    #[test]
    fn numbers_are_told_as_they_are_written() {
        assert_eq!(exact("12345678901234567890123"), json!("12345678901234567890123"));
        assert_eq!(exact("1.50"), json!("1.50"));
        assert_eq!(exact("17"), json!(17));
    }
}
