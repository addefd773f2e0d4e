//! Which rule of the dialect made a difference: by what each rule is able to touch, of those that were applied.

use crate::{
    dialect::{Rule, Rules},
    diff::DifferenceKind,
};

/// The rules that may have made a difference at that place. Empty: none is known to, which would be a fault of segue.
pub(super) fn rules_of(path: &str, applied: Rules) -> Vec<Rule> {
    let found: Vec<Rule> = able(path).into_iter().filter(|rule| applied.contains(*rule)).collect();
    if !found.is_empty() {
        return found;
    }
    // What touches an event anywhere.
    [Rule::REPEATS, Rule::FOLD, Rule::PIXEL].into_iter().filter(|rule| applied.contains(*rule)).collect()
}

/// The rules that are able to touch a place.
fn able(path: &str) -> Vec<Rule> {
    let (first, rest) = path.split_once(['.', '[']).unwrap_or((path, ""));
    match first {
        "timestamp" | "originalTimestamp" => vec![Rule::TIMES, Rule::SKEW],
        "sentAt" => vec![Rule::TIMES, Rule::FOLD],
        "messageId" => vec![Rule::MESSAGE_ID],
        "type" => vec![Rule::PATH_TYPE],
        "writeKey" => vec![Rule::WRITE_KEY],
        "_metadata" => vec![Rule::METADATA],
        "request_ip" | "rudderId" | "receivedAt" => vec![Rule::RESERVED],
        "channel" => vec![Rule::CHANNEL],
        "anonymousId" => vec![Rule::IDLESS, Rule::NULL_IDS],
        "userId" | "groupId" => vec![Rule::NULL_IDS],
        "previousId" => vec![Rule::PREVIOUS_ID, Rule::NULL_IDS],
        "integrations" => vec![Rule::INTEGRATIONS, Rule::FOLD],
        "context" => context(rest),
        _ => Vec::new(),
    }
}

fn context(rest: &str) -> Vec<Rule> {
    match rest.split(['.', '[']).next().unwrap_or_default() {
        "ip" => vec![Rule::CLIENT_IP, Rule::IPV6, Rule::FOLD],
        "traits" => vec![Rule::TRAITS, Rule::FOLD],
        // The whole of it, when the event itself had none.
        "" => vec![Rule::FOLD, Rule::CLIENT_IP, Rule::TRAITS],
        _ => vec![Rule::FOLD],
    }
}

/// Whether a difference is only how both APIs differ, and not what they are told (protocol.md 5): the vendors' own members, the times
/// that each computes from what it is given (both end at the same), names of destinations, and what one side is told beside the event
/// and the other inside of it.
pub(super) fn is_noise(path: &str, kind: DifferenceKind, rules: &[Rule]) -> bool {
    let first = path.split(['.', '[']).next().unwrap_or(path);
    match first {
        "receivedAt" | "rudderId" | "request_ip" | "version" | "channel" | "projectId" | "_metadata" | "metadata" | "writeKey"
        | "integrations" | "recordId" | "sentAt" | "timestamp" | "originalTimestamp" => true,
        // Segment takes them from the path and from the connection.
        "type" | "messageId" => kind == DifferenceKind::OnlyRight,
        "context" if path == "context.ip" || path == "context.direct" => true,
        // Said once for the whole batch, and for each event to RudderStack; an id that is null and one that is not there mean the same.
        _ => !rules.is_empty() && rules.iter().all(|rule| matches!(*rule, Rule::FOLD | Rule::REPEATS | Rule::NULL_IDS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[Rule]) -> Rules {
        rules.iter().copied().collect()
    }

    #[test]
    fn a_rule_makes_what_it_can_touch_when_it_was_applied() {
        let applied = rules(&[Rule::TIMES, Rule::CLIENT_IP, Rule::FOLD]);
        assert_eq!(rules_of("sentAt", applied), [Rule::TIMES, Rule::FOLD]);
        assert_eq!(rules_of("timestamp", applied), [Rule::TIMES]);
        assert_eq!(rules_of("context.ip", applied), [Rule::CLIENT_IP, Rule::FOLD]);
        assert_eq!(rules_of("context.library.name", applied), [Rule::FOLD]);
        assert_eq!(rules_of("context.ip", rules(&[Rule::TIMES])), []);
        assert_eq!(rules_of("properties.total", rules(&[Rule::TIMES])), [], "nothing touches properties");
    }

    #[test]
    fn noise_is_how_the_two_apis_differ() {
        assert!(is_noise("sentAt", DifferenceKind::Value, &[Rule::TIMES]));
        assert!(is_noise("context.library", DifferenceKind::OnlyRight, &[Rule::FOLD]));
        assert!(is_noise("anonymousId", DifferenceKind::OnlyLeft, &[Rule::NULL_IDS]));
        assert!(!is_noise("previousId", DifferenceKind::OnlyRight, &[Rule::PREVIOUS_ID]));
        assert!(!is_noise("properties.total", DifferenceKind::Value, &[]));
    }
}
