//! The names that a local CA may be made for.

use crate::tls::InitError;

/// A CA for more names is not a local one.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// `names` in lower case, each once, without localhost, which every local CA serves.
pub(super) fn checked(names: &[String]) -> Result<Vec<String>, InitError> {
    let mut checked: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let name = name.to_ascii_lowercase();
        check(&name).map_err(|reason| InitError::Name { name: name.clone(), reason })?;
        if name != "localhost" && !checked.contains(&name) {
            checked.push(name);
        }
    }
    if (1..=NAMES_MAX).contains(&checked.len()) {
        Ok(checked)
    } else {
        Err(InitError::NameCount { count: checked.len(), names_max: NAMES_MAX })
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    let labels: Vec<&str> = name.split('.').collect();
    let is_label = |label: &&str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if name.contains('*') {
        return Err("a wildcard would cover names that nobody listed");
    }
    if name.len() > NAME_BYTES_MAX || !labels.iter().all(is_label) {
        return Err("it is not a host name such as api.segment.io");
    }
    if labels.last().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err("it is an address; 127.0.0.1 and ::1 are always served, no other address is");
    }
    if let [only] = labels[..]
        && could_be_a_top_level_domain(only)
    {
        return Err("one label could be a whole top-level domain, as constraints cover subdomains; use a name with a dot or a hyphen");
    }
    Ok(())
}

/// Top-level domains are letters only, or begin with `xn--`.
fn could_be_a_top_level_domain(label: &str) -> bool {
    let is_ours = ["localhost", "segue"].contains(&label);
    !is_ours && (label.starts_with("xn--") || label.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_are_folded_and_listed_once() {
        let given = names(&["API.segment.io", "localhost", "api.segment.io", "segue", "segue-1"]);
        assert_eq!(checked(&given).unwrap(), ["api.segment.io", "segue", "segue-1"]);
    }

    #[test]
    fn names_that_cover_more_than_a_host_are_refused() {
        let refused = [
            "",
            ".",
            "com",
            "xn--p1ai",
            "*.segment.io",
            "api.*",
            "a..b",
            ".segment.io",
            "segment.io.",
            "-a.b",
            "a-.b",
            "a b.c",
            "b\u{fc}cher.de",
            "10.0.0.1",
            "::1",
            "[::1]",
            "1",
        ];
        for name in refused {
            assert!(matches!(checked(&names(&[name])), Err(InitError::Name { .. })), "{name}");
        }
        assert!(checked(&names(&[&"a.".repeat(200)])).is_err());
    }

    #[test]
    fn the_count_of_names_is_limited() {
        let many: Vec<String> = (0..=NAMES_MAX).map(|number| format!("h{number}.example")).collect();
        assert!(checked(&many[1..]).is_ok());
        assert!(matches!(checked(&many), Err(InitError::NameCount { count: 33, .. })));
        assert!(matches!(checked(&names(&["localhost"])), Err(InitError::NameCount { count: 0, .. })));
    }
}
