//! What is known about events after they were sent: parity, findings, the ledger, one event's way.

use std::collections::BTreeMap;

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
    extract::{Json, Query},
    lanes::source_id,
    mask::{masked, masked_at},
    routes::{refused, worded},
    sent::exact,
    server::Hub,
};
use crate::{
    control::decide_finding,
    diff::NoiseAt,
    evidence::{self, Agreement, AnswerClass, AnswerCount, Basis, Finding, FindingState, Followed, Sample, Sums},
    model::{Destination, Role, Span, WallTime},
    routing::{Author, FindingDecision, FindingVerb},
    wire::{self, ProblemCode, schema},
};

/// Which source's.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OfSource {
    /// Only this source's, by id or name.
    source: Option<String>,
}

/// What `GET /v1/findings/{id}` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    /// Whether to show what tells of a person: takes the role `reveal`.
    reveal: Option<bool>,
}

/// Which part of the ledger.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerAsked {
    /// Only this source's, by id or name.
    source: Option<String>,
    /// Only what arrived within this time until now, like `1h` or `30d`; all when it is not said.
    since: Option<String>,
    /// `minute` (the usual): a row for each minute, and for older ones each hour or day; `revision`: one for each revision.
    by: Option<String>,
}

/// Minutes that are told of parity.
const MINUTES: i64 = 60;
/// What is to be sure.
const SURE: f64 = 0.999;

/// How far both sides agree, by what that rests on.
#[utoipa::path(get, path = "/v1/evidence", tag = "evidence", params(OfSource), responses((status = 200, body = wire::Evidence), Problems))]
pub(super) async fn evidence(State(hub): State<Hub>, Query(asked): Query<OfSource>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let standing = hub.evidence.standing();
    let is_wanted = |id: &crate::model::SourceId| source.as_ref().is_none_or(|source| source == id);
    let parity = hub.evidence.parity().into_iter().filter(|parity| is_wanted(&parity.source));
    let taps = standing.taps.iter().filter(|tap| is_wanted(&tap.source)).map(|tap| wire::TapStanding {
        source: tap.source.to_string(),
        by: tap.by.label().to_owned(),
        heard_at: tap.heard_at.map(|at| at.to_string()),
        events: tap.events,
        unjoinable: tap.unjoinable,
        unexpected: tap.unexpected,
    });
    let mut noise = Vec::new();
    for known in hub.sources.load().list().iter().filter(|known| is_wanted(&known.id)) {
        let told = |(at, events): (_, u64)| wire::NoiseCount { source: known.id.to_string(), what: noise_words(&hub, &at), events };
        noise.extend(hub.evidence.noise(&known.id).into_iter().map(told));
    }
    Ok(good(&wire::Evidence {
        schema: schema::EVIDENCE.to_owned(),
        followed: standing.followed,
        followed_max: standing.followed_max,
        one_in: standing.one_in,
        waiting_bytes: standing.waiting_bytes,
        waiting_bytes_max: standing.waiting_bytes_max,
        tapped: hub.evidence.is_tapped(),
        parity: parity.map(|parity| told_parity(&hub, &parity)).collect(),
        taps: taps.collect(),
        answers: hub.evidence.answers(source.as_ref()).iter().map(told_answers).collect(),
        noise,
    }))
}

/// Classes of differences between what both vendors emitted: the most events first.
#[utoipa::path(get, path = "/v1/findings", tag = "evidence", params(OfSource), responses((status = 200, body = wire::Findings), Problems))]
pub(super) async fn findings(State(hub): State<Hub>, Query(asked): Query<OfSource>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let findings = hub.evidence.findings(source.as_ref());
    Ok(good(&wire::Findings {
        schema: schema::FINDINGS.to_owned(),
        untold: hub.evidence.standing().untold,
        findings: findings.iter().map(|finding| told_finding(&hub, finding)).collect(),
    }))
}

/// One class with some of its events.
#[utoipa::path(
    get,
    path = "/v1/findings/{id}",
    tag = "evidence",
    params(("id" = String, Path, description = "Its name"), Shown),
    responses((status = 200, body = wire::FindingDetail), Problems)
)]
pub(super) async fn finding(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(asked): Query<Shown>,
) -> Result<Response, Refusal> {
    let reveal = asked.reveal.unwrap_or(false);
    if reveal {
        caller.must(Role::Reveal)?;
    }
    let finding = hub.evidence.finding(&id).ok_or_else(|| no_finding(&id))?;
    if reveal {
        tracing::info!(event = "finding_revealed", finding = id, uid = caller.uid, "an operator looked at events unmasked");
    }
    let samples = finding.group.samples.iter().map(|sample| told_sample(&hub, &finding, sample, reveal)).collect();
    Ok(good(&wire::FindingDetail { schema: schema::FINDING.to_owned(), finding: told_finding(&hub, &finding), samples, masked: !reveal }))
}

/// Accepts or ignores a class, or takes that back; it is kept in the history.
#[utoipa::path(
    post,
    path = "/v1/findings/{id}",
    tag = "evidence",
    params(("id" = String, Path, description = "Its name")),
    request_body = wire::FindingAsked,
    responses((status = 200, body = wire::FindingDetail), Problems)
)]
pub(super) async fn decide(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Json(asked): Json<wire::FindingAsked>,
) -> Result<Response, Refusal> {
    caller.must(Role::Operate)?;
    let verb = match asked.verb.as_str() {
        "accept" => FindingVerb::Accept,
        "ignore" => FindingVerb::Ignore,
        "reopen" => FindingVerb::Reopen,
        other => return Err(bad_request(format!("`{other}` is nothing that can be decided"), "accept, ignore or reopen")),
    };
    let reason = worded(asked.reason)?;
    if reason.is_none() && verb != FindingVerb::Reopen {
        return Err(bad_request("why is not said".to_owned(), "Give a reason: whoever reads the history wants to know it."));
    }
    let finding = hub.evidence.finding(&id).ok_or_else(|| no_finding(&id))?;
    let decision = FindingDecision {
        source: finding.key.source.to_string(),
        path: finding.key.path.clone(),
        // Noise is a matter of a place, however its values differ.
        kind: (verb != FindingVerb::Ignore).then(|| finding.key.kind.clone()),
        verb,
    };
    decide_finding(&hub.switchboard, &hub.evidence, decision, Author::Uid(caller.uid), reason).await.map_err(refused)?;
    let finding = hub.evidence.finding(&id).ok_or_else(|| no_finding(&id))?;
    let samples = finding.group.samples.iter().map(|sample| told_sample(&hub, &finding, sample, false)).collect();
    Ok(good(&wire::FindingDetail { schema: schema::FINDING.to_owned(), finding: told_finding(&hub, &finding), samples, masked: true }))
}

/// How the events of each source, destination, revision and minute ended.
#[utoipa::path(get, path = "/v1/ledger", tag = "evidence", params(LedgerAsked), responses((status = 200, body = wire::LedgerBook), Problems))]
pub(super) async fn ledger(State(hub): State<Hub>, Query(asked): Query<LedgerAsked>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let since = asked.since.as_deref().map(str::parse::<Span>).transpose();
    let since = since.map_err(|error| bad_request(error.to_string(), "A time is written like 1h or 30d."))?;
    let from =
        since.map_or(WallTime::from_millis(0), |span| hub.clock.now().plus_millis(-i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX)));
    let rows = hub.evidence.ledger_rows(source.as_ref(), from);
    let rows = match asked.by.as_deref() {
        None | Some("minute") => rows,
        Some("revision") => by_revision(rows),
        Some(other) => return Err(bad_request(format!("`{other}` is no way to sum up"), "minute or revision")),
    };
    Ok(good(&wire::LedgerBook {
        schema: schema::LEDGER.to_owned(),
        estimated: hub.evidence.standing().estimated,
        rows: rows.iter().map(told_row).collect(),
    }))
}

/// One event through every hop: what the newest two volumes of the journal and evidence know of it.
#[utoipa::path(
    get,
    path = "/v1/trace/{message_id}",
    tag = "evidence",
    params(("message_id" = String, Path, description = "Its messageId"), OfSource),
    responses((status = 200, body = wire::Trace), Problems)
)]
pub(super) async fn trace(
    State(hub): State<Hub>,
    Path(message_id): Path<String>,
    Query(asked): Query<OfSource>,
) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let sent = hub.replayer.sent(message_id.clone(), source.clone()).await.map_err(|error| {
        Refusal::new(ProblemCode::Disk, format!("the journal cannot be read: {error}"), "See the log for what the disk says.")
    })?;
    let sources: Vec<_> = match (&source, &sent) {
        (Some(source), _) => vec![source.clone()],
        (None, Some(sent)) => vec![sent.source.clone()],
        (None, None) => hub.sources.load().list().iter().map(|source| source.id.clone()).collect(),
    };
    let followed = sources.iter().find_map(|source| Some((source.clone(), hub.evidence.followed(source, &message_id)?)));
    let mut hops = Vec::new();
    if let Some(sent) = &sent {
        let path = sent.path.split('?').next().unwrap_or_default();
        let app = sent.app.as_deref().map(|app| format!(", from {}", hub.without_keys(app))).unwrap_or_default();
        hops.push(hop("arrived", None, Some(sent.received_at), format!("by {path}{app}; kept on disk before it was answered 200")));
        for side in Destination::ALL {
            let says = match (sent.planned.of(side), sent.copies.of(side), &sent.refusal) {
                (false, ..) => format!("not planned, by revision {}", sent.revision),
                (true, None, Some(refusal)) if side == Destination::RudderStack => format!("planned, and never sent: {refusal}"),
                (true, ..) => format!("planned, by revision {}", sent.revision),
            };
            hops.push(hop("planned", Some(side), Some(sent.received_at), says));
        }
    }
    if let Some((_, followed)) = &followed {
        hops.extend(told_followed(followed));
    } else if let Some(sent) = &sent
        && sent.planned.segment
        && sent.planned.rudderstack
    {
        let says = "what became of it is not known any more, or not yet: see the lanes (segue status) and the quarantine";
        hops.push(hop("answered", None, None, says.to_owned()));
    }
    let source = sent.map(|sent| sent.source).or_else(|| followed.map(|(source, _)| source));
    let Some(source) = source else {
        let fix = "Older events are in the journal too: segue journal export. Was it sent through this sidecar?";
        return Err(Refusal::new(ProblemCode::NotFound, "no event with that messageId is known", fix));
    };
    Ok(good(&wire::Trace { schema: schema::TRACE.to_owned(), message_id, source: source.to_string(), hops }))
}

fn told_followed(followed: &Followed) -> Vec<wire::Hop> {
    let mut hops = Vec::new();
    for side in Destination::ALL {
        if let Some(answer) = followed.answers.of(side) {
            let says = format!("{} with status {} after {} ms", answer.outcome.label(), answer.status, answer.took_ms);
            hops.push(hop("answered", Some(side), Some(answer.at), says));
        }
    }
    if let Some(predicted) = followed.predicted {
        hops.push(hop("predicted", Some(Destination::Segment), None, format!("Segment drops it after its 200: {predicted}")));
    }
    for side in Destination::ALL {
        if let Some(at) = followed.emitted_at.of(side) {
            hops.push(hop("emitted", Some(side), Some(*at), "its webhook came".to_owned()));
        }
    }
    if let Some(agreement) = followed.agreement {
        hops.push(hop("compared", None, None, words(agreement).to_owned()));
    }
    hops
}

const fn words(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Equal => "both vendors have the same",
        Agreement::Noise => "both vendors have the same, but for how they differ by their nature",
        Agreement::Accepted => "both vendors have the same, but for what was accepted",
        Agreement::Different => "the vendors have not the same: see segue diff",
        Agreement::OnlySegment => "Segment alone has it",
        Agreement::OnlyRudderStack => "RudderStack alone has it",
        Agreement::Predicted => "one side alone has it, as was foretold",
        Agreement::Unjoinable => "that cannot be said: a tap was silent",
    }
}

fn hop(what: &str, side: Option<Destination>, at: Option<WallTime>, says: String) -> wire::Hop {
    wire::Hop { what: what.to_owned(), side: side.map(|side| side.label().to_owned()), at: at.map(|at| at.to_string()), says }
}

fn by_revision(rows: Vec<evidence::LedgerRow>) -> Vec<evidence::LedgerRow> {
    let mut sums: BTreeMap<_, evidence::LedgerRow> = BTreeMap::new();
    for row in rows {
        let key = (row.source.clone(), row.destination, row.revision);
        match sums.get_mut(&key) {
            Some(sum) => sum.sums += row.sums,
            None => _ = sums.insert(key, evidence::LedgerRow { minutes: 0, ..row }),
        }
    }
    sums.into_values().collect()
}

fn told_row(row: &evidence::LedgerRow) -> wire::LedgerRow {
    let Sums { planned, ends } = row.sums;
    wire::LedgerRow {
        source: row.source.to_string(),
        destination: row.destination.label().to_owned(),
        revision: row.revision.0,
        from: row.from.to_string(),
        minutes: row.minutes,
        planned,
        delivered: ends.delivered,
        pending: row.sums.pending(),
        quarantined: ends.quarantined,
        deduplicated: ends.deduplicated,
        suppressed: ends.suppressed,
        expired: ends.expired,
        purged: ends.purged,
    }
}

/// Where something counts for nothing, and why.
fn noise_words(hub: &Hub, at: &NoiseAt) -> String {
    hub.without_keys(&at.label())
}

fn told_parity(hub: &Hub, parity: &evidence::Parity) -> wire::Parity {
    let track = &parity.track;
    let interval = track.sequence.interval();
    let first = hub.clock.now().as_millis().div_euclid(60_000) - MINUTES + 1;
    let minute = |minute| track.minutes.get(&minute).map_or((0, 0), |(agree, differ)| (u64::from(*agree), u64::from(*differ)));
    let mut versions: Vec<wire::VersionParity> = track
        .versions
        .iter()
        .map(|(version, tally)| wire::VersionParity { version: hub.without_keys(version), tally: told_tally(tally) })
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.tally.equal + version.tally.noise + version.tally.different));
    wire::Parity {
        source: parity.source.to_string(),
        basis: basis(parity.basis).to_owned(),
        since_revision: track.since_revision,
        since: WallTime::from_millis(track.since_ms).to_string(),
        pairs: interval.pairs,
        share: (interval.pairs > 0).then_some(interval.share),
        lower: interval.lower,
        upper: interval.upper,
        drifting: interval.is_drifting,
        until_999: track.sequence.events_until(SURE),
        tally: told_tally(&track.now),
        minutes: (first..first + MINUTES).map(minute).collect(),
        versions,
    }
}

/// A word for what a claim rests on.
pub(super) const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Answers => "answers",
        Basis::Tap => "tap",
    }
}

fn told_tally(tally: &evidence::Tally) -> wire::Tally {
    let evidence::Tally { equal, noise, accepted, different, only_segment, only_rudderstack, predicted, unjoinable } = *tally;
    wire::Tally { equal, noise, accepted, different, only_segment, only_rudderstack, predicted, unjoinable }
}

fn told_answers((class, count): &(AnswerClass, AnswerCount)) -> wire::AnswerClass {
    let mean = |side: Destination| count.took_ms.of(side).checked_div(count.events).unwrap_or(0);
    let (segment, rudderstack) = (class.ends.segment, class.ends.rudderstack);
    wire::AnswerClass {
        source: class.source.to_string(),
        segment: segment.0.label().to_owned(),
        segment_status: segment.1,
        rudderstack: rudderstack.0.label().to_owned(),
        rudderstack_status: rudderstack.1,
        predicted: class.predicted.map(str::to_owned),
        events: count.events,
        segment_ms: mean(Destination::Segment),
        rudderstack_ms: mean(Destination::RudderStack),
        segment_slowest_ms: count.slowest_ms.segment,
        rudderstack_slowest_ms: count.slowest_ms.rudderstack,
        behind_ms: count.behind_ms,
        last_at: count.last_at.to_string(),
        newest: count.newest.iter().map(|(envelope, index)| format!("{envelope}/{index}")).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is for people")]
fn told_finding(hub: &Hub, finding: &Finding) -> wire::Finding {
    let Finding { key, group, state, decision } = finding;
    let track = hub.evidence.track(&key.source, Basis::Tap).unwrap_or_default();
    let compared = track.ever.pairs();
    let mut versions: Vec<_> = group.versions.iter().collect();
    versions.sort_by_key(|(_, events)| std::cmp::Reverse(**events));
    let first = group.samples.front();
    let shown = |side: fn(&Sample) -> &Option<String>| {
        let value = exact(side(first?).as_deref()?);
        Some(masked_at(&key.path, hub.event_without_keys(value)).to_string())
    };
    wire::Finding {
        id: key.id(),
        source: key.source.to_string(),
        path: hub.without_keys(&key.path),
        kind: key.kind.clone(),
        state: match state {
            FindingState::Open => "open",
            FindingState::Accepted => "accepted",
            FindingState::Ignored => "ignored",
        }
        .to_owned(),
        reason: decision.as_ref().map(|decision| decision.reason.clone()),
        decided_by_revision: decision.as_ref().map(|decision| decision.revision.0),
        events: group.count,
        share: (compared > 0).then(|| group.count as f64 / compared as f64),
        first_at: WallTime::from_millis(group.first_ms).to_string(),
        last_at: WallTime::from_millis(group.last_ms).to_string(),
        since_revision: group.since_revision,
        new: group.first_ms >= track.since_ms && track.since_revision > 0,
        versions: versions.into_iter().map(|(version, _)| hub.without_keys(version)).collect(),
        samples: group.samples.iter().map(|sample| sample.message_id.clone()).collect(),
        segment: shown(|sample| &sample.left),
        rudderstack: shown(|sample| &sample.right),
    }
}

fn told_sample(hub: &Hub, finding: &Finding, sample: &Sample, reveal: bool) -> wire::FindingSample {
    let value = |text: &Option<String>| {
        let value = hub.event_without_keys(exact(text.as_deref()?));
        Some(if reveal { value } else { masked_at(&finding.key.path, value) })
    };
    let event = |text: &Option<String>| {
        let event = serde_json::from_str::<Value>(text.as_deref()?).ok().map(|event| hub.event_without_keys(event))?;
        Some(if reveal { event } else { masked(event) })
    };
    wire::FindingSample {
        message_id: sample.message_id.clone(),
        at: WallTime::from_millis(sample.at_ms).to_string(),
        why: sample.why.clone(),
        left: value(&sample.left),
        right: value(&sample.right),
        segment: event(&sample.segment),
        rudderstack: event(&sample.rudderstack),
    }
}

fn bad_request(what: String, fix: &str) -> Refusal {
    Refusal::new(ProblemCode::BadRequest, what, fix)
}

fn no_finding(id: &str) -> Refusal {
    Refusal::new(ProblemCode::NotFound, format!("there is no finding `{id}`"), "What there is: segue diff")
}
