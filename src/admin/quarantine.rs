//! The quarantine: what is in it, sending it again, giving it up.

use axum::{
    extract::{Extension, State},
    response::Response,
};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path, Query},
    lanes::{destination_of, source_id},
    mask::masked,
    routes::refused,
    server::Hub,
};
use crate::{
    journal::{Moved, Pick, QuarantineId, QuarantineRow, Quarantined},
    model::{Envelope, Role},
    routing::{Author, Deed, Sifted},
    wire::{PAGE_ENTRIES_MAX, ProblemCode, QuarantineDetail, QuarantineEntry, QuarantineMoved, QuarantinePage, QuarantinePick, schema},
};

/// What `GET /v1/quarantine` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only those of this source, by id or name.
    source: Option<String>,
    /// Only those that this destination refused: `segment` or `rudderstack`.
    destination: Option<String>,
    /// Only those whose reason contains this text.
    reason: Option<String>,
    /// Only those behind this one: `next` of the page before.
    after: Option<u64>,
    /// How many at most.
    limit: Option<usize>,
}

/// What `GET /v1/quarantine/{id}` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    /// Whether to show what tells of a person: takes the role `reveal`.
    reveal: Option<bool>,
}

/// A page of the quarantine, oldest first.
#[utoipa::path(get, path = "/v1/quarantine", tag = "quarantine", params(Asked), responses((status = 200, body = QuarantinePage), Problems))]
pub(super) async fn list(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let pick = pick(
        &hub,
        &QuarantinePick { source: asked.source, destination: asked.destination, reason: asked.reason, ..QuarantinePick::default() },
    )?;
    let limit = asked.limit.unwrap_or(PAGE_ENTRIES_MAX).clamp(1, PAGE_ENTRIES_MAX);
    let rows = hub.journal.quarantine(&pick, QuarantineId(asked.after.unwrap_or(0)), limit);
    let next = if rows.len() == limit { rows.last().map(|row| row.id.0) } else { None };
    let Moved { entries: total_entries, events: total_events } = hub.journal.quarantine_count(&pick);
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        // One that left meanwhile, or that the disk has damaged, is told of without its event.
        let item = hub.journal.quarantine_entry(row.id).await.ok().flatten();
        entries.push(entry(&hub, &row, item.as_ref()));
    }
    Ok(good(&QuarantinePage { schema: schema::QUARANTINE.to_owned(), total_entries, total_events, entries, next }))
}

/// One entry with its event, masked unless asked otherwise.
#[utoipa::path(
    get,
    path = "/v1/quarantine/{id}",
    tag = "quarantine",
    params(("id" = u64, Path, description = "Its number"), Shown),
    responses((status = 200, body = QuarantineDetail), Problems)
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(asked): Query<Shown>,
) -> Result<Response, Refusal> {
    let reveal = asked.reveal.unwrap_or(false);
    if reveal {
        caller.must(Role::Reveal)?;
    }
    let id = QuarantineId(id.parse().map_err(|_| bad_request("an entry is named by its number".to_owned()))?);
    let pick = Pick { id: Some(id), ..Pick::default() };
    let row = hub.journal.quarantine(&pick, QuarantineId(0), 1).pop().ok_or_else(|| no_entry(&hub, id))?;
    let item = hub.journal.quarantine_entry(id).await.map_err(|error| {
        Refusal::new(ProblemCode::Disk, format!("the quarantine cannot be read: {error}"), "See the log for what the disk says.")
    })?;
    let Some(item) = item else {
        return Err(Refusal::new(ProblemCode::Disk, "the entry is damaged on disk", "Its event cannot be shown or sent again.")
            .meaning("It stays counted as quarantined."));
    };
    if reveal {
        tracing::info!(event = "quarantine_revealed", entry = id.0, uid = caller.uid, "an operator looked at an event unmasked");
    }
    let event = serde_json::from_slice(&item.event).ok().map(|event: Value| hub.event_without_keys(event));
    Ok(good(&QuarantineDetail {
        schema: schema::QUARANTINE_ENTRY.to_owned(),
        entry: entry(&hub, &row, Some(&item)),
        answer: hub.without_keys(&item.answer),
        received_at: Envelope::decode(&item.envelope).ok().map(|envelope| envelope.received_at.to_string()),
        event: event.map(|event| if reveal { event } else { masked(event) }),
        masked: !reveal,
    }))
}

/// Sends entries again.
#[utoipa::path(
    post,
    path = "/v1/quarantine/redrive",
    tag = "quarantine",
    request_body = QuarantinePick,
    responses((status = 200, body = QuarantineMoved), Problems)
)]
pub(super) async fn redrive(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<QuarantinePick>,
) -> Result<Response, Refusal> {
    let pick = meant(&hub, &asked)?;
    if asked.dry_run {
        return Ok(moved(hub.journal.quarantine_count(&pick), asked.dry_run));
    }
    caller.must(Role::Operate)?;
    note(&hub, caller, &pick, Deed::Redrive).await?;
    let done = hub.journal.redrive(pick).await.map_err(|error| {
        Refusal::undurable(
            &error,
            "Nothing is lost. What was to be sent again is still in quarantine, or will be sent after the next start.",
        )
    })?;
    tracing::info!(
        event = "quarantine_redriven",
        entries = done.entries,
        events = done.events,
        uid = caller.uid,
        "an operator has events sent again"
    );
    hub.lanes.nudge_full();
    Ok(moved(done, false))
}

/// Gives entries up: they count as purged.
#[utoipa::path(
    post,
    path = "/v1/quarantine/release",
    tag = "quarantine",
    request_body = QuarantinePick,
    responses((status = 200, body = QuarantineMoved), Problems)
)]
pub(super) async fn release(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<QuarantinePick>,
) -> Result<Response, Refusal> {
    let pick = meant(&hub, &asked)?;
    if asked.dry_run {
        return Ok(moved(hub.journal.quarantine_count(&pick), asked.dry_run));
    }
    caller.must(Role::Operate)?;
    note(&hub, caller, &pick, Deed::GiveUp).await?;
    let named = format!("{pick:?}");
    let done = hub
        .journal
        .release(pick)
        .await
        .map_err(|error| Refusal::undurable(&error, "Part of what was to be given up may be gone; look at what is left."))?;
    // The audit of what was thrown away on purpose.
    tracing::warn!(
        event = "quarantine_released",
        entries = done.entries,
        events = done.events,
        uid = caller.uid,
        pick = named,
        "an operator gave up events in quarantine; they count as purged"
    );
    hub.lanes.nudge_full();
    Ok(moved(done, false))
}

/// Keeps in the history what is going to be done. Of nothing nothing is kept.
async fn note(hub: &Hub, caller: Caller, pick: &Pick, deed: fn(Sifted) -> Deed) -> Result<(), Refusal> {
    let Moved { events, .. } = hub.journal.quarantine_count(pick);
    if events == 0 {
        return Ok(());
    }
    let sifted = Sifted {
        entry: pick.id.map(|id| id.0),
        about: pick.reason.clone(),
        source: pick.source.as_ref().map(ToString::to_string),
        destination: pick.destination.map(|destination| destination.label().to_owned()),
        events,
    };
    hub.switchboard.record(deed(sifted), Author::Uid(caller.uid), None).await.map_err(refused)?;
    Ok(())
}

fn moved(moved: Moved, dry_run: bool) -> Response {
    let Moved { entries, events } = moved;
    good(&QuarantineMoved { schema: schema::QUARANTINE_MOVED.to_owned(), entries, events, dry_run })
}

/// Which entries a change is about. Nothing is not everything: that has to be said.
fn meant(hub: &Hub, asked: &QuarantinePick) -> Result<Pick, Refusal> {
    if !asked.says_which() {
        return Err(bad_request("it does not say which entries are meant: id, source, destination, reason, or all".to_owned()));
    }
    let pick = pick(hub, asked)?;
    match pick.id {
        Some(id) if hub.journal.quarantine(&pick, QuarantineId(0), 1).is_empty() => Err(no_entry(hub, id)),
        _ => Ok(pick),
    }
}

fn pick(hub: &Hub, asked: &QuarantinePick) -> Result<Pick, Refusal> {
    Ok(Pick {
        id: asked.id.map(QuarantineId),
        source: asked.source.as_deref().map(|source| source_id(hub, source)).transpose()?,
        destination: asked.destination.as_deref().map(destination_of).transpose()?,
        reason: asked.reason.clone(),
    })
}

fn entry(hub: &Hub, row: &QuarantineRow, item: Option<&Quarantined>) -> QuarantineEntry {
    let event: Option<Value> = item.and_then(|item| serde_json::from_slice(&item.event).ok());
    let text = |name: &str| event.as_ref().and_then(|event| event.get(name)?.as_str()).map(|text| hub.without_keys(&shortened(text)));
    QuarantineEntry {
        id: row.id.0,
        source: row.lane.source.to_string(),
        destination: row.lane.destination.label().to_owned(),
        events: row.events,
        kind: text("type"),
        name: text("event"),
        message_id: text("messageId"),
        reason: hub.without_keys(&row.reason),
        status: row.status,
        at: row.at.to_string(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

/// More of a name is not told in a list.
const NAME_CHARS_MAX: usize = 120;

fn bad_request(what: String) -> Refusal {
    Refusal::new(ProblemCode::BadRequest, what, "See segue quarantine --help, or is the client newer than the sidecar?")
}

fn no_entry(hub: &Hub, id: QuarantineId) -> Refusal {
    let all = Pick::default();
    let above = hub.journal.quarantine(&all, id, 1).pop();
    let hint = match above {
        Some(row) => format!("The next one is {}. All of them: segue quarantine ls", row.id),
        None if hub.journal.quarantine_count(&all).entries == 0 => "The quarantine is empty.".to_owned(),
        None => "It may have been sent again or given up. What is there: segue quarantine ls".to_owned(),
    };
    Refusal::new(ProblemCode::NoEntry, format!("there is no entry {id} in quarantine"), hint)
}
