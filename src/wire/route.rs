//! Routes and their changes, as the admin API tells of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How all routes stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Routes {
    /// [`schema::ROUTES`](super::schema::ROUTES)
    pub schema: String,
    /// The newest revision.
    pub revision: u64,
    /// What turned the kill switch on; None: it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<RouteEvent>,
    /// The sources, in the configuration's order.
    pub routes: Vec<SourceRoute>,
}

/// One source's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceRoute {
    /// The source's id.
    pub source: String,
    /// Its name.
    pub name: String,
    /// The revision that gave it its route; 0: it has the configuration's. The kill switch stands above it.
    pub revision: u64,
    /// Its route.
    #[serde(flatten)]
    pub route: RouteShares,
    /// Its route in the configuration.
    pub configured: RouteShares,
    /// What of it goes another way, as the configuration says; the first rule that matches an event wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SourceRule>,
    /// Since when Segment is not contacted for it; None: it is not retired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
}

/// One rule of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceRule {
    /// Its conditions: `type track, app android < 4.12`.
    pub when: String,
    /// The route of what matches.
    #[serde(flatten)]
    pub route: RouteShares,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteShares {
    /// As the configuration takes it: `cutover=25%`, or `{ segment = "80%", rudderstack = "40%" }`.
    pub route: String,
    /// The share of people whose events Segment gets: `75%`.
    pub segment: String,
    /// The share of people whose events RudderStack gets.
    pub rudderstack: String,
    /// The share of people whose events Segment gets besides, so that both sides can be compared.
    pub verify: String,
}

/// A change of a route, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteAsked {
    /// `segment-only`, `shadow=25%`, `both`, `cutover=25%`, `rudderstack-only`, or two shares.
    pub route: String,
    /// The new verify share; None: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// The source's revision that the author looked at; None: whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is to be taken back: the newest change of any route, or of one source's, or all changes after a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoAsked {
    /// Only this source's newest change; None: the newest of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// All changes after this revision; None: only the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_revision: Option<u64>,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// The kill switch, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillAsked {
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say how it stands.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came, or would come, of a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutesChanged {
    /// [`schema::ROUTES_CHANGED`](super::schema::ROUTES_CHANGED)
    pub schema: String,
    /// Whether it was done: false for a dry run, and for what stood so already.
    pub changed: bool,
    /// The newest revision.
    pub revision: u64,
    /// The sources that have, or would have, another route.
    pub sources: Vec<RouteChanged>,
}

/// One source before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteChanged {
    /// How it stood.
    pub before: SourceRoute,
    /// How it stands, or would stand.
    pub after: SourceRoute,
    /// What that means for its events, at the pace of the last minute; None: the sidecar is older than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
}

/// What a change of a route means for a source's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Impact {
    /// Events of the source that apps send, a second, over the last minute.
    pub received_per_second: f64,
    /// Of them, about so many go to Segment.
    pub segment: Shift,
    /// Of them, about so many go to RudderStack.
    pub rudderstack: Shift,
    /// Events that wait for RudderStack.
    pub waiting_for_rudderstack: u64,
    /// Who its events came from of late; None: that was not looked at, or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
    /// What has to be thought of: limits that would be hit, what an undo does not bring back.
    pub notes: Vec<String>,
}

/// Who a source's events came from, by the newest part of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recent {
    /// When the oldest of the events that were looked at arrived.
    pub since: String,
    /// How many were looked at.
    pub events: u64,
    /// Whose they are.
    pub people: u64,
    /// The apps by name and version, else the libraries: the most first, at most eight.
    pub apps: Vec<AppShare>,
}

/// One version of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppShare {
    /// Its name and version, as it says; `(not told)` when it does not.
    pub app: String,
    /// Its events among those that were looked at.
    pub events: u64,
}

/// Events a second, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Shift {
    /// As the route was.
    pub before: f64,
    /// As it is, or would be.
    pub after: f64,
}

/// How the kill switch stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KillStatus {
    /// [`schema::KILL`](super::schema::KILL)
    pub schema: String,
    /// Whether everything goes to Segment.
    pub on: bool,
    /// Whether this request changed it.
    pub changed: bool,
    /// The newest revision.
    pub revision: u64,
    /// What turned it on; None: it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RouteEvent>,
    /// Events that wait for RudderStack.
    pub waiting: u64,
}

/// The newest changes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteHistory {
    /// [`schema::ROUTE_HISTORY`](super::schema::ROUTE_HISTORY)
    pub schema: String,
    /// The changes.
    pub changes: Vec<RouteEvent>,
}

/// One change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteEvent {
    /// The revision that it made.
    pub revision: u64,
    /// When (RFC 3339).
    pub at: String,
    /// Who: `uid 1000`, or `kill file`; of a ramp's own moves `ramp 41, uid 1000`, the ramp and who confirmed it.
    pub by: String,
    /// `route`, `undo`, `kill on`, `kill off`, `limit`, `hold`, `release`, `redrive`, `give up`, `purge`, `replay`, `replay pause`, `replay
    /// resume`, `replay cancel`, `replay end`, `ramp`, `ramp pause`, `ramp resume`, `ramp abort`, `ramp hold`, `ramp cancel`, `ramp done`
    /// or `reload`.
    pub what: String,
    /// The source; of a reload all that it changed, with commas; None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The route before; None for the kill switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RouteShares>,
    /// The route after; None for the kill switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RouteShares>,
    /// The destination of a limit or of a held lane; None for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The limit before; None when no limit was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_limit: Option<String>,
    /// The limit after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_limit: Option<String>,
    /// The replay that something was done about, by the revision that started it; None for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// The ramp that was started or that something was done about, by the revision that started it; None for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<u64>,
    /// The routes of a ramp that was started, in order; empty for anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// How many events of the quarantine were sent again or given up; None for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// What it is about, when that is none of the others: the place and kind of a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Why; None: nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The change that it takes back; None: none in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
}

/// A reload, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadAsked {
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// A source that went, and one that came with a Segment key of it: the same under another name, perhaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyMoved {
    /// The id of the one that went.
    pub from: String,
    /// The id of the one that came.
    pub to: String,
    /// Its name.
    pub to_name: String,
    /// Events that wait for the one that went.
    pub waiting: u64,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadAnswer {
    /// [`schema::RELOAD`](super::schema::RELOAD)
    pub schema: String,
    /// Whether nothing was done but looking.
    #[serde(default)]
    pub dry_run: bool,
    /// The newest revision.
    pub revision: u64,
    /// The ids of sources that came, went or changed; empty: they are as they were.
    pub changed: Vec<String>,
    /// Sources that went, and came back under another id with a key of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<KeyMoved>,
    /// Settings that differ from those in force, and need a restart.
    pub needs_restart: Vec<String>,
}

/// Whether the lines of the history hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// [`schema::AUDIT`](super::schema::AUDIT)
    pub schema: String,
    /// How many lines there are.
    pub lines: u64,
    /// Which of them, counted from 1, were changed or stand behind one that is gone.
    pub broken: Vec<u64>,
    /// The newest line's seal, 64 hexadecimal digits.
    pub seal: String,
}
