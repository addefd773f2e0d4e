//! Faults on demand: rules that make a stand-in answer wrongly, late or not at all, settable while it runs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// What goes wrong.
///
/// The first five happen before the vendor takes anything; in the others it has taken the events, and the client cannot
/// know or must wait to learn. As JSON: `{"status":{"status":503,"retry_after":"2"}}`, `"hang"`, `{"slow":{"delay_ms":50}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing is taken; this status is answered.
    Status {
        /// The status, 100 to 999.
        status: u16,
        /// The value of a `Retry-After` header; None for none, as RudderStack does (and for a Segment 429: 1 second).
        #[serde(default)]
        retry_after: Option<String>,
        /// The body; None for what the vendor says with that status.
        #[serde(default)]
        body: Option<String>,
    },
    /// Nothing is taken; a redirect to this address is answered.
    Redirect {
        /// The status, 301 to 308.
        status: u16,
        /// The value of `Location`.
        location: String,
    },
    /// Nothing is taken; the request is read and never answered, until the rule is lifted or the client gives up.
    Hang,
    /// Nothing is taken; the connection is closed (over h2 too, with all its streams).
    Close,
    /// Nothing is taken; the connection is reset (RST).
    Reset,
    /// The events are taken; the answer comes after the delay.
    Slow {
        /// Milliseconds before the answer.
        delay_ms: u64,
    },
    /// The events are taken; the request is never answered.
    TakeThenHang,
    /// The events are taken; the connection is closed instead of an answer: the client cannot know.
    TakeThenClose,
    /// The events are taken; the connection is closed after the answer's headers.
    CloseAfterHeaders,
    /// The events are taken; the connection is closed in the middle of the answer's body.
    CutBody,
    /// The events are taken; `Content-Length` promises ten bytes more than ever come, and the connection stays open.
    WrongLength,
}

impl Fault {
    /// That status with the vendor's own body for it.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, body: None }
    }

    /// That status, and `Retry-After` with this value.
    #[must_use]
    pub fn status_retry_after(status: u16, retry_after: impl Into<String>) -> Self {
        Self::Status { status, retry_after: Some(retry_after.into()), body: None }
    }

    /// An answer that is so late.
    #[must_use]
    pub fn slow(delay: Duration) -> Self {
        Self::Slow { delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// A fault, the requests it concerns, and how often it strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only for requests under this write key; None for all.
    #[serde(default)]
    pub write_key: Option<String>,
    /// Only for requests with an event whose `event` is this; None for all.
    #[serde(default)]
    pub event: Option<String>,
    /// Only for requests with an event of this messageId; None for all.
    #[serde(default)]
    pub message_id: Option<String>,
    /// Only for paths that begin so; None for all but preflights and `/__standin/`.
    #[serde(default)]
    pub path: Option<String>,
    /// For so many matching requests; None until lifted. 0 never strikes.
    #[serde(default)]
    pub times: Option<u64>,
}

impl Rule {
    /// For every request until lifted.
    #[must_use]
    pub const fn always(fault: Fault) -> Self {
        Self { fault, write_key: None, event: None, message_id: None, path: None, times: None }
    }

    /// For the next so many requests.
    #[must_use]
    pub const fn next(times: u64, fault: Fault) -> Self {
        Self { fault, write_key: None, event: None, message_id: None, path: None, times: Some(times) }
    }

    /// The same, only for requests under that write key.
    #[must_use]
    pub fn for_key(self, write_key: impl Into<String>) -> Self {
        Self { write_key: Some(write_key.into()), ..self }
    }

    /// The same, only for requests that hold an event whose `event` is this.
    #[must_use]
    pub fn for_event(self, event: impl Into<String>) -> Self {
        Self { event: Some(event.into()), ..self }
    }

    /// The same, only for requests that hold an event of that messageId.
    #[must_use]
    pub fn for_message(self, message_id: impl Into<String>) -> Self {
        Self { message_id: Some(message_id.into()), ..self }
    }

    /// The same, only for paths that begin so.
    #[must_use]
    pub fn for_path(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    fn concerns(&self, request: &Marks<'_>) -> bool {
        self.times != Some(0)
            && self.write_key.as_deref().is_none_or(|key| request.write_key == Some(key))
            && self.path.as_deref().is_none_or(|path| request.path.starts_with(path))
            && self.event.as_deref().is_none_or(|name| request.names.contains(&name))
            && self.message_id.as_deref().is_none_or(|id| request.message_ids.contains(&id))
    }
}

/// What rules look at in a request.
pub(super) struct Marks<'a> {
    pub write_key: Option<&'a str>,
    pub path: &'a str,
    pub names: Vec<&'a str>,
    pub message_ids: Vec<&'a str>,
}

/// The name of a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleId(pub u64);

/// The rules of one stand-in; clones share them. The first rule that concerns a request strikes, in the order they were
/// added. 1000 rules are kept at most; further ones push out the oldest.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    changes: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    rules: Vec<Standing>,
    /// The limit that answers 429, and every lift of it.
    events_per_second_max: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
struct Standing {
    id: RuleId,
    struck: u64,
    rule: Rule,
}

impl Faults {
    /// Adds a rule behind those that stand.
    #[expect(clippy::must_use_candidate, reason = "a rule that is never lifted needs no name")]
    pub fn add(&self, rule: Rule) -> RuleId {
        self.change(|table| {
            table.next_id += 1;
            let id = RuleId(table.next_id);
            if table.rules.len() >= RULES_MAX {
                table.rules.remove(0);
            }
            table.rules.push(Standing { id, struck: 0, rule });
            id
        })
    }

    /// Takes a rule away; requests that hang by it are let go unanswered.
    pub fn lift(&self, id: RuleId) {
        self.change(|table| table.rules.retain(|standing| standing.id != id));
    }

    /// Takes all rules away, and the rate limit.
    pub fn clear(&self) {
        self.change(|table| {
            table.rules.clear();
            table.events_per_second_max = None;
        });
    }

    /// How often a rule has struck; 0 when it was lifted.
    #[must_use]
    pub fn struck(&self, id: RuleId) -> u64 {
        self.table().rules.iter().find(|standing| standing.id == id).map_or(0, |standing| standing.struck)
    }

    /// Answers 429, as the vendor words it, to requests that would bring more events than this into any one second.
    /// None takes the limit away. It is looked at before any rule.
    pub fn limit_events_per_second(&self, events_max: Option<u32>) {
        self.change(|table| table.events_per_second_max = events_max);
    }

    pub(super) fn events_per_second_max(&self) -> Option<u32> {
        self.table().events_per_second_max
    }

    /// The fault that strikes this request, which uses up one of its times.
    pub(super) fn strike(&self, request: &Marks<'_>) -> Option<(RuleId, Fault)> {
        let mut table = self.table();
        let standing = table.rules.iter_mut().find(|standing| standing.rule.concerns(request))?;
        standing.struck += 1;
        if let Some(times) = &mut standing.rule.times {
            *times -= 1;
        }
        Some((standing.id, standing.rule.fault.clone()))
    }

    /// Returns once that rule stands no more. A rule whose times are used up still stands.
    pub(super) async fn lifted(&self, id: RuleId) {
        loop {
            // Made before the look, so that no change between the two is missed. Those who wait hear it in their order.
            let changed = self.shared.changes.notified();
            if !self.table().rules.iter().any(|standing| standing.id == id) {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.table().rules).unwrap_or_default()
    }

    fn change<T>(&self, by: impl FnOnce(&mut Table) -> T) -> T {
        let result = by(&mut self.table());
        self.shared.changes.notify_waiters();
        result
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rules that may stand at a time.
const RULES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn marks<'a>(path: &'a str, write_key: &'a str, names: &[&'a str]) -> Marks<'a> {
        Marks { write_key: Some(write_key), path, names: names.to_vec(), message_ids: vec!["m1"] }
    }

    #[test]
    fn the_first_rule_that_concerns_a_request_strikes_as_often_as_it_may() {
        let faults = Faults::default();
        let poison = faults.add(Rule::always(Fault::status(400)).for_event("Poison"));
        let twice = faults.add(Rule::next(2, Fault::status(503)).for_path("/v1/"));
        let strikes = |path, names: &[&'static str]| faults.strike(&marks(path, "wk_test_a", names)).map(|(id, _)| id);
        assert_eq!(strikes("/v1/batch", &["Fine", "Poison"]), Some(poison));
        assert_eq!(strikes("/v1/batch", &["Fine"]), Some(twice));
        assert_eq!(strikes("/beacon/v1/batch", &["Fine"]), None);
        assert_eq!(strikes("/v1/track", &[]), Some(twice));
        assert_eq!(strikes("/v1/track", &[]), None, "its times are used up");
        assert_eq!((faults.struck(poison), faults.struck(twice)), (1, 2));
        faults.lift(poison);
        assert_eq!(strikes("/v1/batch", &["Poison"]), None);
    }

    #[test]
    fn rules_select_by_key_and_message() {
        let faults = Faults::default();
        faults.add(Rule::always(Fault::Close).for_key("wk_test_b"));
        assert!(faults.strike(&marks("/", "wk_test_a", &[])).is_none());
        assert!(faults.strike(&marks("/", "wk_test_b", &[])).is_some());
        faults.clear();
        faults.add(Rule::always(Fault::Close).for_message("m1"));
        assert!(faults.strike(&marks("/", "wk_test_a", &[])).is_some());
        faults.clear();
        faults.add(Rule::always(Fault::Close).for_message("m2"));
        assert!(faults.strike(&marks("/", "wk_test_a", &[])).is_none());
    }

    #[test]
    fn rules_are_written_as_json_by_tests_in_other_processes() {
        let rule: Rule = serde_json::from_str(r#"{"fault":{"status":{"status":503,"retry_after":"2"}},"times":3}"#).unwrap();
        assert_eq!(rule, Rule::next(3, Fault::status_retry_after(503, "2")));
        let rule: Rule = serde_json::from_str(r#"{"fault":"reset","event":"Poison"}"#).unwrap();
        assert_eq!(rule, Rule::always(Fault::Reset).for_event("Poison"));
    }
}
