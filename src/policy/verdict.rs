//! What an upstream's answer means.

use super::{RetryAfter, Sign};
use crate::model::Destination;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a well-formed answer.
    Answered {
        /// Its status.
        status: u16,
        /// Its Retry-After; None when it had none that can be read.
        retry_after: Option<RetryAfter>,
    },
    /// With no answer that can be trusted: no connection, a broken one, garbage, a deadline. The other side may have taken
    /// the events all the same.
    Unanswered,
    /// It could not even be written, and never can.
    Unsendable,
}

/// What is to be done about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: its events arrived.
    Delivered,
    /// Send it again, with the same messageIds; None: when our own backoff says.
    Retry(Option<RetryAfter>),
    /// Send it in halves, as it is too large. A single event that is too large goes to quarantine.
    Split,
    /// Send it in halves until the bad event is alone; then that one goes to quarantine.
    Bisect,
    /// Its events are refused for good.
    Quarantine,
    /// The configuration is wrong, not the events: stop the lane and keep everything.
    Park,
}

/// Judges one request.
///
/// 2xx is delivered. 408, 429, 460, 5xx and no answer are tried again (protocol.md 1.6, 2.3). 413 is split; toward Segment,
/// whose requests are the client's own and are never divided, it is final as a 400 is. 400 and the 4xx not named otherwise
/// are about the events: RudderStack refuses a whole request for one of them, so it is bisected; Segment's envelope goes
/// to quarantine. What no event can cause parks: keys and permissions (401, 402, 403, 407), paths and methods (404, which
/// is also RudderStack's "source is disabled"; 405, 410, 421), redirects, which are never followed.
#[must_use]
pub const fn judge(destination: Destination, outcome: Outcome) -> Verdict {
    let (status, retry_after) = match outcome {
        Outcome::Answered { status, retry_after } => (status, retry_after),
        Outcome::Unanswered => return Verdict::Retry(None),
        Outcome::Unsendable => return Verdict::Quarantine,
    };
    match (status, destination) {
        (200..=299, _) => Verdict::Delivered,
        (300..=399 | 401 | 402 | 403 | 404 | 405 | 407 | 410 | 421, _) => Verdict::Park,
        (408 | 429 | 460, _) => Verdict::Retry(retry_after),
        (413, Destination::RudderStack) => Verdict::Split,
        (400..=499, Destination::RudderStack) => Verdict::Bisect,
        (400..=499, Destination::Segment) => Verdict::Quarantine,
        (_, _) => Verdict::Retry(retry_after),
    }
}

impl Outcome {
    /// What the outcome says about the destination as a whole.
    #[must_use]
    pub const fn sign(self) -> Sign {
        match self {
            Self::Answered { status: 500.., .. } | Self::Unanswered => Sign::Down,
            Self::Answered { .. } => Sign::Alive,
            Self::Unsendable => Sign::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;
    use crate::model::WallTime;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after: None }
    }

    #[test]
    fn every_status_has_its_verdict() {
        let table: [(RangeInclusive<u16>, Verdict, Verdict); 15] = [
            (200..=299, Verdict::Delivered, Verdict::Delivered),
            (300..=308, Verdict::Park, Verdict::Park),
            (400..=400, Verdict::Quarantine, Verdict::Bisect),
            (401..=405, Verdict::Park, Verdict::Park),
            (406..=406, Verdict::Quarantine, Verdict::Bisect),
            (407..=407, Verdict::Park, Verdict::Park),
            (408..=408, Verdict::Retry(None), Verdict::Retry(None)),
            (410..=410, Verdict::Park, Verdict::Park),
            (413..=413, Verdict::Quarantine, Verdict::Split),
            (415..=415, Verdict::Quarantine, Verdict::Bisect),
            (422..=422, Verdict::Quarantine, Verdict::Bisect),
            (429..=429, Verdict::Retry(None), Verdict::Retry(None)),
            (460..=460, Verdict::Retry(None), Verdict::Retry(None)),
            (500..=599, Verdict::Retry(None), Verdict::Retry(None)),
            (900..=999, Verdict::Retry(None), Verdict::Retry(None)),
        ];
        for (statuses, segment, rudderstack) in table {
            for status in statuses {
                assert_eq!(judge(Destination::Segment, answered(status)), segment, "segment {status}");
                assert_eq!(judge(Destination::RudderStack, answered(status)), rudderstack, "rudderstack {status}");
            }
        }
    }

    #[test]
    fn an_asked_wait_is_carried_and_no_answer_is_tried_again() {
        let retry_after = RetryAfter::parse("7", WallTime::from_millis(0));
        for status in [429, 503] {
            assert_eq!(judge(Destination::Segment, Outcome::Answered { status, retry_after }), Verdict::Retry(retry_after));
        }
        assert_eq!(judge(Destination::Segment, Outcome::Unanswered), Verdict::Retry(None));
        assert_eq!(judge(Destination::RudderStack, Outcome::Unsendable), Verdict::Quarantine);
    }

    #[test]
    fn only_silence_and_5xx_say_that_a_destination_is_down() {
        let table = [(answered(200), Sign::Alive), (answered(400), Sign::Alive), (answered(429), Sign::Alive), (answered(500), Sign::Down)];
        for (outcome, want) in table {
            assert_eq!(outcome.sign(), want, "{outcome:?}");
        }
        assert_eq!(Outcome::Unanswered.sign(), Sign::Down);
    }
}
