//! What people decide about findings: written to the history first, in force then.

use super::{FlipError, Switchboard};
use crate::{
    evidence::{Decision, DecisionVerb, Evidence},
    model::SourceId,
    routing::{Author, Change, Deed, FindingDecision, FindingVerb},
};

/// Decides about differences between what both vendors emitted.
///
/// # Errors
/// When the history cannot be written; nothing is decided then.
pub async fn decide_finding(
    switchboard: &Switchboard,
    evidence: &Evidence,
    decision: FindingDecision,
    by: Author,
    reason: Option<String>,
) -> Result<Change, FlipError> {
    let change = switchboard.record(Deed::Finding(Box::new(decision)), by, reason).await?;
    if let Some(decision) = decision_of(&change) {
        evidence.decide(decision);
    }
    Ok(change)
}

/// Puts in force again what earlier runs were told.
pub fn restore_findings(switchboard: &Switchboard, evidence: &Evidence) {
    for change in switchboard.changes(usize::MAX).iter().rev() {
        if let Some(decision) = decision_of(change) {
            evidence.decide(decision);
        }
    }
}

fn decision_of(change: &Change) -> Option<Decision> {
    let Deed::Finding(finding) = &change.deed else { return None };
    Some(Decision {
        source: SourceId::parse(&finding.source).ok()?,
        path: finding.path.clone(),
        kind: finding.kind.clone(),
        verb: match finding.verb {
            FindingVerb::Accept => DecisionVerb::Accept,
            FindingVerb::Ignore => DecisionVerb::Ignore,
            FindingVerb::Reopen => DecisionVerb::Reopen,
        },
        reason: change.reason.clone().unwrap_or_default(),
        revision: change.revision,
    })
}
