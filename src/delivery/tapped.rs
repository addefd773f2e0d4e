//! Telling the live tap what became of events.

use super::errand::Answered;
use crate::{
    model::{Destination, Envelope, EnvelopeId},
    policy::Verdict,
    tap::{Outcome, Settled},
};

/// What a request carries, as the tap knows it: one event of an envelope, or all of it that goes to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carried {
    envelope: EnvelopeId,
    /// How many events the envelope has.
    events: u32,
    /// Which one; None: all.
    index: Option<u32>,
}

impl Carried {
    /// All of an envelope.
    pub(super) const fn whole(envelope: &Envelope) -> Self {
        Self { envelope: envelope.id, events: envelope.events, index: None }
    }

    /// A record's of no envelope.
    #[cfg(test)]
    pub(super) const fn nobody() -> Self {
        Self { envelope: EnvelopeId(0), events: 0, index: None }
    }

    /// The event at `index` alone.
    pub(super) const fn event(self, index: u32) -> Self {
        Self { index: Some(index), ..self }
    }

    /// What became of it before anything was sent.
    pub(super) const fn unsent(self, destination: Destination, outcome: Outcome) -> Settled {
        let Self { envelope, events, index } = self;
        Settled { envelope, events, index, destination, outcome, status: 0, took: std::time::Duration::ZERO }
    }

    /// What an answer to a request made of it, which carried `parts` of its kind.
    pub(super) const fn answered(self, destination: Destination, verdict: Verdict, answer: &Answered, parts: usize) -> Settled {
        let outcome = match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Retry(_) => Outcome::Retry,
            // It goes again in a smaller request.
            Verdict::Split | Verdict::Bisect if parts > 1 => Outcome::Retry,
            Verdict::Split | Verdict::Bisect | Verdict::Quarantine => Outcome::Quarantined,
            Verdict::Park => Outcome::Parked,
        };
        Settled { status: answer.status, took: answer.took, ..self.unsent(destination, outcome) }
    }
}
