//! `segue versions`: which versions of which apps send events, and whether a source could do without Segment.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use super::{
    Exit,
    attach::{self, Attached},
    census_flags::VersionsFlags,
    command::Manner,
    inert::cut,
    talk::{Form, Talk},
};
use crate::{
    model::{Span, inert},
    wire::{StopOutlook, VersionSeen, Versions},
};

/// How far back the census knows hours, and days.
const HOURS: u64 = 24;
const DAYS: u64 = 30;

/// Tells them.
pub fn versions(manner: &Manner, flags: &VersionsFlags, talk: &Talk) -> anyhow::Result<Exit> {
    if flags.since.is_some_and(|since| since.0 > Duration::from_secs(DAYS * 86_400)) {
        talk.error(&anyhow::anyhow!(
            "events are counted by the day for {DAYS} days\n  Ask for --since {DAYS}d at most, or for all without it"
        ));
        return Ok(Exit::Usage);
    }
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let mut versions: Versions = match attached.get(&path("/v1/versions", flags.source.as_deref()), talk) {
        Ok(versions) => versions,
        Err(exit) => return Ok(exit),
    };
    if let Some(since) = flags.since {
        limit(&mut versions, since);
    }
    match talk.form() {
        Form::Json => attach::json(talk, &versions)?,
        Form::Text if flags.csv => talk.result(&csv(&versions.versions))?,
        Form::Text => talk.result(&page(&versions))?,
    }
    Ok(Exit::Done)
}

/// A path that asks for one source, or for all.
pub fn path(path: &str, source: Option<&str>) -> String {
    let Some(source) = source else { return path.to_owned() };
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("source", source).finish();
    format!("{path}?{query}")
}

/// Leaves the events of the last hours or days, each begun one included.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn limit(versions: &mut Versions, since: Span) {
    let hours = since.0.as_secs().div_ceil(3_600);
    let of = |counts: &[u32], steps: u64| {
        counts.iter().take(usize::try_from(steps).unwrap_or(usize::MAX)).map(|count| u64::from(*count)).sum::<u64>()
    };
    let mut of_source = HashMap::<String, u64>::new();
    for seen in &mut versions.versions {
        seen.events = if hours <= HOURS { of(&seen.hours, hours) } else { of(&seen.days, hours.div_ceil(24)) };
        *of_source.entry(seen.source.clone()).or_default() += seen.events;
    }
    versions.versions.retain(|seen| seen.events > 0);
    for seen in &mut versions.versions {
        seen.share = seen.events as f64 / of_source[&seen.source].max(1) as f64;
    }
    versions.versions.sort_by_key(|seen| Reverse(seen.events));
    versions.events = of_source.values().sum();
}

fn page(versions: &Versions) -> String {
    if versions.versions.is_empty() {
        return "No event was counted in that time.".to_owned();
    }
    let mut lines = vec![
        format!("{:12} {:17} {:19} {:>8} {:>6} {:>6} {:>5}", "SOURCE", "APP", "SDK", "EVENTS", "SHARE", "USERS", "LAST")
            .trim_end()
            .to_owned(),
    ];
    lines.extend(versions.versions.iter().map(row));
    let mut old: Vec<String> = versions
        .versions
        .iter()
        .filter_map(|seen| Some(format!("old SDK: {} {}", inert(seen.library.as_deref()?), inert(seen.old_sdk.as_deref()?))))
        .collect();
    old.sort_unstable();
    old.dedup();
    lines.extend((!old.is_empty()).then(String::new));
    lines.extend(old);
    lines.push(String::new());
    lines.extend(versions.outlooks.iter().map(outlook));
    lines.push(
        "  Users: anonymousIds, else userIds, within 5 %. Of late: the last 7 to 14 days.\n  \
         Known is what came through this sidecar; what an SDK sent twice counts twice."
            .to_owned(),
    );
    lines.join("\n")
}

fn row(seen: &VersionSeen) -> String {
    let is_others = seen.flags.iter().any(|flag| flag == "others");
    let names = [seen.app.as_deref(), seen.version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let app = match (names.as_str(), seen.platform.as_deref()) {
        ("", _) if is_others => "(others)",
        ("", Some(platform)) => platform,
        ("", None) => "(not told)",
        (names, _) => names,
    };
    format!(
        "{:12} {:17} {:19} {:>8} {:>6} {:>6} {:>5}",
        cut(&seen.source, 12),
        cut(app, 17),
        cut(seen.library.as_deref().unwrap_or("(not told)"), 19),
        about(seen.events),
        format!("{:.1}%", seen.share * 100.0),
        about(seen.people),
        age(seen)
    )
}

/// How long ago the last event came, by the hours and days that have any: `1h` is within the hour that runs.
fn age(seen: &VersionSeen) -> String {
    let first = |counts: &[u32]| counts.iter().position(|count| *count > 0);
    match (first(&seen.hours), first(&seen.days)) {
        (Some(hours), _) => format!("{}h", hours + 1),
        (None, Some(days)) => format!("{days}d"),
        (None, None) => format!(">{DAYS}d"),
    }
}

/// A count in six characters.
fn about(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Whether a source could do without Segment, and why not.
fn outlook(outlook: &StopOutlook) -> String {
    let (source, days) = (inert(&outlook.source), outlook.silent_days);
    let said = match outlook.verdict.as_str() {
        "safe" => format!("{source}: safe to stop Segment.\n  For {days} days no event was Segment's alone, and none came by its webhook."),
        "too_early" => format!(
            "{source}: too early to say whether Segment can be stopped.\n  Counted since {}, less than {days} days.",
            inert(&outlook.since)
        ),
        _ => format!("{source}: NOT safe to stop Segment.{}{}", alone(outlook), by_webhook(outlook)),
    };
    let silent = match outlook.versions_silent {
        0 => String::new(),
        versions => format!("\n  {} silent for {days} days.", versions_are(versions)),
    };
    let gone = match outlook.people_gone {
        0 => String::new(),
        gone => format!("\n  {gone} users were not seen of late with any version."),
    };
    format!("{said}{silent}{gone}")
}

fn versions_are(versions: usize) -> String {
    if versions == 1 { "1 version is".to_owned() } else { format!("{versions} versions are") }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn alone(outlook: &StopOutlook) -> String {
    if outlook.versions_segment_alone == 0 {
        return String::new();
    }
    let named = outlook.named_segment_alone.iter().map(|name| inert(name).into_owned()).collect::<Vec<_>>().join(", ");
    let more = if outlook.versions_segment_alone > outlook.named_segment_alone.len() { " and more" } else { "" };
    format!(
        "\n  {:.1}% of users of late ({}) had events that Segment alone got.\n  {} versions still have them: {named}{more}.",
        outlook.people_segment_alone as f64 * 100.0 / outlook.people.max(1) as f64,
        outlook.people_segment_alone,
        outlook.versions_segment_alone
    )
}

fn by_webhook(outlook: &StopOutlook) -> String {
    let came = match outlook.versions_by_webhook {
        0 => return String::new(),
        1 => "1 version".to_owned(),
        versions => format!("{versions} versions"),
    };
    format!("\n  {came} came by Segment's webhook in the last {} days.", outlook.silent_days)
}

fn csv(versions: &[VersionSeen]) -> String {
    let head = "source,app,version,library,platform,events,share,users,users_lately,first_seen,last_seen,segment,rudderstack,by_webhook,\
                segment_alone_at,webhook_at,flags";
    let text = |text: &Option<String>| quoted(text.as_deref().unwrap_or_default());
    let line = |seen: &VersionSeen| {
        [
            quoted(&seen.source),
            text(&seen.app),
            text(&seen.version),
            text(&seen.library),
            text(&seen.platform),
            seen.events.to_string(),
            format!("{:.6}", seen.share),
            seen.people.to_string(),
            seen.people_lately.to_string(),
            seen.first_at.clone(),
            seen.last_at.clone(),
            seen.segment.to_string(),
            seen.rudderstack.to_string(),
            seen.by_webhook.to_string(),
            text(&seen.segment_alone_at),
            text(&seen.webhook_at),
            quoted(&seen.flags.join(" ")),
        ]
        .join(",")
    };
    std::iter::once(head.to_owned()).chain(versions.iter().map(line)).collect::<Vec<_>>().join("\n")
}

/// A text as a value (RFC 4180), made harmless: apps choose it, and a spreadsheet would carry out what begins like a formula.
fn quoted(text: &str) -> String {
    let text = inert(text);
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    let plain = guard.is_empty() && !text.contains([',', '"', '\n', '\r', ' ']);
    if plain { text.into_owned() } else { format!("\"{guard}{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(version: &str, hours: &[u32], days: &[u32]) -> VersionSeen {
        VersionSeen {
            source: "android-production".into(),
            app: Some("Shop of all things".into()),
            version: Some(version.into()),
            library: Some("analytics-android 4.11.3".into()),
            platform: Some("android".into()),
            events: 12_345_678,
            share: 0.925,
            people: 588_000,
            people_lately: 500_000,
            first_at: "2026-11-01T00:00:00.000Z".into(),
            last_at: "2026-11-23T00:00:00.000Z".into(),
            hours: hours.to_vec(),
            days: days.to_vec(),
            segment: 1,
            rudderstack: 2,
            by_webhook: 0,
            segment_alone_at: None,
            webhook_at: None,
            parity: None,
            flags: vec!["old_sdk".into()],
            old_sdk: Some("succeeded by analytics-kotlin".into()),
        }
    }

    fn versions() -> Versions {
        let outlook = StopOutlook {
            source: "android-production".into(),
            verdict: "not_safe".into(),
            since: "2026-11-01T00:00:00.000Z".into(),
            silent_days: 7,
            people: 1_000,
            people_segment_alone: 24,
            versions_segment_alone: 4,
            named_segment_alone: vec!["shop 4.9".into(), "shop 4.2".into(), "shop 3.0".into()],
            versions_by_webhook: 1,
            versions_silent: 6,
            people_gone: 12,
        };
        let versions = vec![seen("5.0.4", &[0, 3], &[3, 9]), seen("4.9.0-beta", &[], &[0, 0, 1]), seen("4", &[], &[])];
        Versions { schema: String::new(), since: None, events: 3, versions, outlooks: vec![outlook] }
    }

    #[test]
    fn a_page_fits_eighty_columns_and_says_what_hangs_on_segment() {
        let page = page(&versions());
        for line in page.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let first = page.lines().nth(1).unwrap();
        assert_eq!(first, "android-p... Shop of all th... analytics-androi...      12M  92.5%   588k    2h");
        assert!(
            page.contains("NOT safe to stop Segment.\n  2.4% of users of late (24) had events that Segment alone got.\n  4 versions"),
            "{page}"
        );
        assert!(page.contains("shop 4.9, shop 4.2, shop 3.0 and more") && page.contains("1 version came by Segment's webhook"), "{page}");
        assert!(page.contains("old SDK: analytics-android 4.11.3 succeeded by analytics-kotlin"), "{page}");
        let ages: Vec<&str> = page.lines().skip(1).take(3).map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(ages, ["2h", "2d", ">30d"]);
    }

    #[test]
    fn a_limit_counts_whole_hours_or_days() {
        let of = |since: &str| {
            let mut all = versions();
            limit(&mut all, since.parse().unwrap());
            all.versions.iter().map(|seen| seen.events).collect::<Vec<_>>()
        };
        assert_eq!((of("1h"), of("2h"), of("2d"), of("30d")), (vec![], vec![3], vec![12], vec![12, 1]));
    }

    #[test]
    fn values_are_quoted_and_no_formula_is_one() {
        let values = ["a", "a b", "a,\"b\"", "=cmd()", "-1", ""].map(quoted);
        assert_eq!(values, ["a", "\"a b\"", "\"a,\"\"b\"\"\"", "\"'=cmd()\"", "\"'-1\"", ""]);
        assert_eq!(csv(&versions().versions).lines().map(|line| line.split(',').count()).collect::<Vec<_>>(), [17; 4]);
    }
}
