//! Changes of routes: who changed what, when, from what to what and why.

use serde::{Deserialize, Serialize};

use super::{
    Ramp, RampMove, Replay, Route, ramp,
    replay::{self, Step},
};
use crate::model::{Destination, Percent, RateLimit, Revision, SourceId, WallTime};

/// One change, as it is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The revision that it made.
    pub revision: Revision,
    /// When.
    pub at: WallTime,
    /// Who.
    pub by: Author,
    /// What was done.
    pub deed: Deed,
    /// Why, in the author's words; None when none were given.
    pub reason: Option<String>,
    /// The change that this one takes back; None when it is none's undoing.
    pub undoes: Option<Revision>,
}

/// Who changed something, by the system's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// A user of this machine, by the admin socket.
    Uid(u32),
    /// Whoever made or removed the kill file.
    KillFile,
    /// Whoever sent a signal.
    #[default]
    Signal,
    /// Whoever changed the configuration, which is watched.
    ConfigFile,
    /// The sidecar itself.
    Sidecar,
    /// A ramp that somebody confirmed.
    Ramp {
        /// The revision that started it.
        job: u64,
        /// Who confirmed it, a user of this machine; None: nobody who is known by a number.
        uid: Option<u32>,
    },
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A source gets another route.
    Route {
        /// The source.
        source: SourceId,
        /// The route it had.
        from: Route,
        /// The route it gets.
        to: Route,
    },
    /// The kill switch: everything to Segment, queues to `RudderStack` held.
    KillOn,
    /// Back to the routes.
    KillOff,
    /// What goes to a destination gets another rate limit.
    Limit {
        /// The source; None: all of them together.
        source: Option<SourceId>,
        /// The destination.
        destination: Destination,
        /// The limit it had.
        from: RateLimit,
        /// The limit it gets.
        to: RateLimit,
    },
    /// A range of events is sent again; the change's revision is the replay's name.
    Replay(Box<Replay>),
    /// Something is done about the replay that this revision started.
    ReplayStep(Revision, Step),
    /// A source begins a ramp; the change's revision is the ramp's name.
    Ramp(Box<Ramp>),
    /// Something is done about the ramp that this revision started. Its steps are changes of the route.
    RampMove(Revision, RampMove),
    /// What waits of a source that is not configured is given up, for one destination or, with None, for both.
    Purge(SourceId, Option<Destination>),
    /// Entries of the quarantine are sent again.
    Redrive(Sifted),
    /// Entries of the quarantine are given up.
    GiveUp(Sifted),
    /// Segment is not contacted for a source any more: its events go to `RudderStack` alone, whatever its route and rules say.
    Retire(SourceId),
    /// A retired source has its route back.
    Unretire(SourceId),
    /// A lane is held.
    Hold(SourceId, Destination),
    /// A held lane goes on.
    Release(SourceId, Destination),
    /// Somebody says what is to be made of differences between what both vendors emitted.
    Finding(Box<FindingDecision>),
    /// The configuration was read again.
    Reload {
        /// The sources that came, went or changed.
        sources: Vec<SourceId>,
    },
}

/// Which entries of the quarantine: those that fit everything named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sifted {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Those whose reason contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Those of this source's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Those that this destination refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How many events that were.
    pub events: u64,
}

/// What is to be made of differences between what both vendors emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingDecision {
    /// The source's id.
    pub source: String,
    /// Where in an event; empty: the whole event.
    pub path: String,
    /// How they differ; None: however they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is to be made of it.
    pub verb: FindingVerb,
}

/// What can be made of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingVerb {
    /// It is as it should be.
    Accept,
    /// It says nothing.
    Ignore,
    /// What was decided before is taken back.
    Reopen,
}

/// As it is written: flat, with texts as the configuration has them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    revision: u64,
    at: String,
    by: Author,
    change: Verb,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Shares>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Shares>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_limit: Option<RateLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_limit: Option<RateLimit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<replay::Written>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ramp: Option<ramp::Written>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<RampMove>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sifted: Option<Sifted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finding: Option<FindingDecision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undoes: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    #[default]
    Route,
    Limit,
    Purge,
    Redrive,
    GiveUp,
    Replay,
    ReplayStep,
    Ramp,
    RampMove,
    Retire,
    Unretire,
    Hold,
    Release,
    Finding,
    KillOn,
    KillOff,
    Reload,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Shares {
    segment: Percent,
    rudderstack: Percent,
    verify: Percent,
}

impl Change {
    /// One line of JSON, without its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let deed = match &self.deed {
            Deed::Route { source, from, to } => Written {
                change: Verb::Route,
                source: Some(source.to_string()),
                from: Some(Shares::from(*from)),
                to: Some(Shares::from(*to)),
                ..Written::default()
            },
            Deed::KillOn => Written { change: Verb::KillOn, ..Written::default() },
            Deed::KillOff => Written { change: Verb::KillOff, ..Written::default() },
            Deed::Limit { source, destination, from, to } => Written {
                change: Verb::Limit,
                source: source.as_ref().map(ToString::to_string),
                destination: Some(destination.label().to_owned()),
                from_limit: Some(*from),
                to_limit: Some(*to),
                ..Written::default()
            },
            Deed::Replay(replay) => Written { change: Verb::Replay, replay: Some(replay::Written::of(replay)), ..Written::default() },
            Deed::ReplayStep(job, step) => Written { change: Verb::ReplayStep, job: Some(job.0), step: Some(*step), ..Written::default() },
            Deed::Ramp(ramp) => Written { change: Verb::Ramp, ramp: Some(ramp::Written::of(ramp)), ..Written::default() },
            Deed::RampMove(job, done) => Written { change: Verb::RampMove, job: Some(job.0), done: Some(*done), ..Written::default() },
            Deed::Purge(source, destination) => Written {
                change: Verb::Purge,
                source: Some(source.to_string()),
                destination: destination.map(|destination| destination.label().to_owned()),
                ..Written::default()
            },
            Deed::Redrive(sifted) => Written { change: Verb::Redrive, sifted: Some(sifted.clone()), ..Written::default() },
            Deed::GiveUp(sifted) => Written { change: Verb::GiveUp, sifted: Some(sifted.clone()), ..Written::default() },
            Deed::Retire(source) => Written { change: Verb::Retire, source: Some(source.to_string()), ..Written::default() },
            Deed::Unretire(source) => Written { change: Verb::Unretire, source: Some(source.to_string()), ..Written::default() },
            Deed::Hold(source, destination) => Written::lane(Verb::Hold, source, *destination),
            Deed::Release(source, destination) => Written::lane(Verb::Release, source, *destination),
            Deed::Finding(finding) => Written { change: Verb::Finding, finding: Some((**finding).clone()), ..Written::default() },
            Deed::Reload { sources } => {
                Written { change: Verb::Reload, sources: sources.iter().map(ToString::to_string).collect(), ..Written::default() }
            }
        };
        let written = Written {
            revision: self.revision.0,
            at: self.at.to_rfc3339(),
            by: self.by,
            reason: self.reason.clone(),
            undoes: self.undoes.map(|revision| revision.0),
            ..deed
        };
        // Plain texts and numbers: writing them cannot fail.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads [`Change::to_json`]; None when it is nothing that this version could have written.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        let Written {
            revision,
            at,
            by,
            change,
            source,
            from,
            sources,
            to,
            destination,
            from_limit,
            to_limit,
            replay,
            job,
            step,
            ramp,
            done,
            sifted,
            finding,
            reason,
            undoes,
        } = serde_json::from_str(json).ok()?;
        let source = source.map(|id| SourceId::parse(&id).ok()).map_or(Some(None), |id| id.map(Some))?;
        let known = |label: &str| Destination::ALL.into_iter().find(|known| known.label() == label);
        let destination = || known(destination.as_deref()?);
        let deed = match change {
            Verb::Route => Deed::Route { source: source?, from: from?.route()?, to: to?.route()? },
            Verb::KillOn => Deed::KillOn,
            Verb::KillOff => Deed::KillOff,
            Verb::Limit => Deed::Limit { source, destination: destination()?, from: from_limit?, to: to_limit? },
            Verb::Replay => Deed::Replay(Box::new(replay?.read()?)),
            Verb::ReplayStep => Deed::ReplayStep(Revision(job?), step?),
            Verb::Ramp => Deed::Ramp(Box::new(ramp?.read()?)),
            Verb::RampMove => Deed::RampMove(Revision(job?), done?),
            Verb::Purge => Deed::Purge(source?, destination()),
            Verb::Redrive => Deed::Redrive(sifted?),
            Verb::GiveUp => Deed::GiveUp(sifted?),
            Verb::Retire => Deed::Retire(source?),
            Verb::Unretire => Deed::Unretire(source?),
            Verb::Hold => Deed::Hold(source?, destination()?),
            Verb::Release => Deed::Release(source?, destination()?),
            Verb::Finding => Deed::Finding(Box::new(finding?)),
            Verb::Reload => Deed::Reload { sources: sources.iter().map(|id| SourceId::parse(id).ok()).collect::<Option<_>>()? },
        };
        Some(Self { revision: Revision(revision), at: WallTime::parse(&at)?, by, deed, reason, undoes: undoes.map(Revision) })
    }
}

impl Written {
    fn lane(change: Verb, source: &SourceId, destination: Destination) -> Self {
        Self { change, source: Some(source.to_string()), destination: Some(destination.label().to_owned()), ..Self::default() }
    }
}

impl From<Route> for Shares {
    fn from(route: Route) -> Self {
        Self { segment: route.segment(), rudderstack: route.rudderstack(), verify: route.verify() }
    }
}

impl Shares {
    pub(super) fn route(self) -> Option<Route> {
        Route::new(self.segment, self.rudderstack, self.verify).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::routing::{OnRed, Stage};

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let source = SourceId::parse("web").unwrap();
        let to = Route::from("cutover=25%".parse::<Stage>().unwrap()).verifying("1%".parse().unwrap());
        let (segment, rudder) = (Destination::Segment, Destination::RudderStack);
        let limit = |source, to: &str| Deed::Limit { source, destination: rudder, from: RateLimit::None, to: to.parse().unwrap() };
        let replay = Replay {
            source: source.clone(),
            destination: segment,
            first: Some(Revision(3)),
            last: None,
            from: None,
            to: WallTime::parse("2026-01-02T03:04:05.678Z"),
            which: replay::Which::Missing,
            by_route: Some(to),
            rate: 200,
            end: (4, 4_096),
        };
        let ramp = Ramp {
            source: source.clone(),
            from: Stage::Both.into(),
            steps: vec![to, Stage::RudderStackOnly.into()],
            every: Duration::from_mins(30),
            gates: "parity=off,errors<=1%".parse().unwrap(),
            on_red: OnRed::Back,
        };
        let deeds = [
            Deed::Ramp(Box::new(ramp)),
            Deed::RampMove(Revision(5), RampMove::Hold),
            Deed::Route { source: source.clone(), from: Stage::SegmentOnly.into(), to },
            Deed::KillOn,
            Deed::KillOff,
            limit(None, "200/s"),
            limit(Some(source.clone()), "1/s"),
            Deed::Replay(Box::new(replay)),
            Deed::ReplayStep(Revision(5), Step::Cancel),
            Deed::Redrive(Sifted { about: Some("401".to_owned()), events: 9, ..Sifted::default() }),
            Deed::GiveUp(Sifted { entry: Some(3), events: 1, ..Sifted::default() }),
            Deed::Purge(source.clone(), None),
            Deed::Purge(source.clone(), Some(rudder)),
            Deed::Retire(source.clone()),
            Deed::Unretire(source.clone()),
            Deed::Hold(source.clone(), segment),
            Deed::Release(source, rudder),
            Deed::Finding(Box::new(FindingDecision {
                source: "web".to_owned(),
                path: "properties.total".to_owned(),
                kind: Some("type".to_owned()),
                verb: FindingVerb::Accept,
            })),
            Deed::Reload { sources: vec![SourceId::parse("ios").unwrap()] },
        ];
        for deed in deeds {
            let at = WallTime::parse("2026-01-02T03:04:05.678Z").unwrap();
            let (reason, undoes) = (Some("it \"works\"\n".to_owned()), Some(Revision(6)));
            let by = Author::Ramp { job: 5, uid: Some(1000) };
            let change = Change { revision: Revision(7), at, by, deed, reason, undoes };
            let json = change.to_json();
            assert!(!json.contains('\n'), "{json}");
            assert_eq!(Change::from_json(&json), Some(change), "{json}");
        }
        assert_eq!(Change::from_json("{}"), None);
    }
}
