//! What both vendors made of the demo's events: their stand-ins post it to segue's taps, and RudderStack's gets something wrong at first.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{stage::Stage, traffic::App};
use crate::{
    evidence::{Basis, FindingState},
    ingress::Hooks,
    model::{Secret, SourceId},
    standin::{Alteration, AlterationId, Change, Standin, Webhook, Which},
};

/// What the demo's vendors sign with, or show in their path.
const SECRET: &str = "wk_demo_hooks";
/// The event that RudderStack's stand-in gets wrong.
const WRONG_EVENT: &str = "Coupon Applied";
/// What it gets wrong in it.
const WRONG_PLACE: &str = "properties.total";
/// How long it does, unless the demo is shorter.
pub(super) const MENDED_AFTER: Duration = Duration::from_secs(30);
/// How long the second vendor may take in the demo.
pub(super) const WAIT: Duration = Duration::from_secs(15);

/// Where the demo's vendors post to.
pub(super) fn hooks() -> Hooks {
    Hooks {
        listen: Some(([127, 0, 0, 1], 0).into()),
        segment_secrets: vec![Secret::new(SECRET)],
        rudderstack_secrets: vec![Secret::new(SECRET)],
        ..Hooks::default()
    }
}

/// Has both vendors post what they make of each event, and RudderStack's get something wrong.
pub(super) fn begin(hooks: std::net::SocketAddr, segment: &Standin, rudderstack: &Standin, apps: &[App]) -> AlterationId {
    for app in apps {
        let sides = [
            (segment, app.segment_key, format!("/tap/segment/{}", app.name)),
            (rudderstack, app.rudderstack_key, format!("/tap/rudderstack/{SECRET}/{}", app.name)),
        ];
        for (vendor, key, path) in sides {
            let webhook = Webhook { write_key: key.to_owned(), url: format!("http://{hooks}{path}"), secret: Some(SECRET.to_owned()) };
            // The URL is ours, and one.
            let _ = vendor.emissions().to(webhook);
        }
    }
    let events = Which { name: Some(WRONG_EVENT.to_owned()), ..Which::default() };
    rudderstack.emissions().alter(Alteration { change: Change::Retype(WRONG_PLACE.to_owned()), events })
}

/// Waits for what vendors still have to post; a while, as what they were to post wrong may never come.
pub(super) async fn settle(stage: &Stage) {
    let posted = async {
        stage.segment.emissions().settled().await;
        stage.rudderstack.emissions().settled().await;
    };
    let _ = tokio::time::timeout(SETTLE_MAX, posted).await;
}

/// How long vendors get.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Says what is known of the events that both sides got.
pub(super) fn tell(out: &mut impl Write, stage: &Stage) -> io::Result<()> {
    let evidence = stage.sidecar.evidence();
    writeln!(out, "\nwhat both vendors made of the events that both got")?;
    for (app, _) in &stage.sources {
        let Ok(source) = SourceId::parse(app.name) else { continue };
        let Some(track) = evidence.track(&source, Basis::Tap) else { continue };
        let interval = track.sequence.interval();
        let percent = |share: f64| format!("{:.2} %", (share * 10_000.0).floor() / 100.0);
        writeln!(
            out,
            "  {:<14} {:>6} compared, {} agree (at least {} with 95 % certainty)",
            app.name,
            interval.pairs,
            percent(interval.share),
            percent(interval.lower)
        )?;
        for finding in evidence.findings(Some(&source)).into_iter().filter(|finding| finding.state == FindingState::Open) {
            let place = if finding.key.path.is_empty() { "(whole event)" } else { &finding.key.path };
            writeln!(out, "  {:<14} {:>6} differ: {place}, {}", "", finding.group.count, finding.key.kind)?;
        }
    }
    let (wrong, _) = stage.rudderstack.emissions().altered(stage.fault);
    writeln!(out, "  RudderStack's stand-in passed {WRONG_PLACE} of {wrong} \"{WRONG_EVENT}\" on as a text, until it was mended")
}
