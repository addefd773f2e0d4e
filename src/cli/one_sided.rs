//! What one side alone got while a route was another, and the command that sends it to the other.

use super::{
    attach::{Asked, Attached},
    replay::{self, name},
    talk::Talk,
};
use crate::{
    client::ClientError,
    model::inert,
    wire::{ReplayAsked, ReplayPlan, SourceRoute},
};

/// What each destination of a route missed of a source under these revisions; None for `last`: up to now.
pub fn missed(attached: &Attached, route: &SourceRoute, first: u64, last: Option<u64>) -> Result<Vec<ReplayPlan>, ClientError> {
    let mut missed = Vec::new();
    for (destination, share) in [("segment", &route.route.segment), ("rudderstack", &route.route.rudderstack)] {
        if share == "0%" {
            continue;
        }
        let asked = ReplayAsked {
            source: route.source.clone(),
            destination: destination.to_owned(),
            first_revision: Some(first),
            last_revision: last,
            // A full share is everybody, but for what rules send elsewhere.
            by_route: (share != "100%" || !route.rules.is_empty()).then(|| route.route.route.clone()),
            ..ReplayAsked::default()
        };
        let plan: ReplayPlan = attached.try_post("/v1/replays/plan", &asked)?;
        missed.extend(Some(plan).filter(|plan| plan.events > 0));
    }
    Ok(missed)
}

/// The same in words. What cannot be counted is said, and is no reason to fail: what was asked for is done.
pub fn told(missed: &Result<Vec<ReplayPlan>, ClientError>) -> Vec<String> {
    let plans = match missed {
        Ok(plans) => plans,
        Err(error) => return vec![format!("What one side alone got meanwhile could not be counted: {}", inert(&error.to_string()))],
    };
    let line = |plan: &ReplayPlan| {
        let (to, other) = (name(&plan.destination), name(if plan.destination == "segment" { "rudderstack" } else { "segment" }));
        let more = if plan.complete { "" } else { " (at least: not all of that time is still in the journal)" };
        format!(
            "{other} alone got {} events of {} meanwhile{more}. To send them to {to}: {}",
            plan.events,
            inert(&plan.source),
            inert(&plan.command)
        )
    };
    plans.iter().map(line).collect()
}

/// Sends what was missed, at that rate.
pub fn backfill(attached: &Attached, plans: &[ReplayPlan], rate: &str, talk: &Talk) -> anyhow::Result<Asked<()>> {
    for plan in plans {
        let asked = ReplayAsked { rate: Some(rate.to_owned()), ..plan.asked.clone() };
        if let Err(exit) = replay::begin(attached, &asked, talk)? {
            return Ok(Err(exit));
        }
    }
    Ok(Ok(()))
}
