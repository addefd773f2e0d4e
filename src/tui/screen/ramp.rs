//! How a source's ramp and its gates stand.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        look::{Look, Tone},
        table::Cell,
        text::{Phrase, Side, clean, fit, toned},
    },
    frame, lines,
    sources::named,
};
use crate::wire::{GateStatus, RampStatus, SourceRoute};

/// In the column of notes.
pub(super) fn short(ramp: &RampStatus, look: &Look) -> Cell {
    let place = format!("ramp {}/{}", ramp.taken, ramp.steps.len());
    match (&ramp.stopped, ramp.held.is_empty(), &ramp.next_at) {
        (Some(_), ..) => Cell::toned(Tone::Warning, format!("{place} paused")),
        (None, false, _) => Cell::toned(Tone::Warning, format!("{place} held")),
        (None, true, Some(at)) => Cell::new(format!("{place} {}", minute(at, look))),
        (None, true, None) => Cell::new(place),
    }
}

/// In a sentence: `ramp 2/5 (cutover 25%) healthy 20 min, next cutover 50% at 14:30 if gates hold`.
pub(super) fn sentence(ramp: &RampStatus, look: &Look) -> String {
    if let Some(why) = &ramp.stopped {
        return format!("ramp paused at {}/{}: {}", ramp.taken, ramp.steps.len(), clean(why));
    }
    if !ramp.held.is_empty() {
        return format!("ramp held at {}/{}: {}", ramp.taken, ramp.steps.len(), clean(&ramp.held.join("; ")));
    }
    let index = usize::try_from(ramp.taken).unwrap_or(usize::MAX);
    let now = index.checked_sub(1).and_then(|index| ramp.steps.get(index)).unwrap_or(&ramp.from);
    let next = ramp.steps.get(index).map_or_else(|| "done".to_owned(), |next| format!("next {}", words(next)));
    let when = match &ramp.next_at {
        Some(at) => format!("at {} if gates hold", minute(at, look)),
        None => "when its gates are green".to_owned(),
    };
    let healthy = match ramp.green_seconds {
        0 => String::new(),
        seconds @ 1..120 => format!(" healthy {seconds} s"),
        seconds => format!(" healthy {} min", seconds / 60),
    };
    format!("ramp {}/{} ({}){healthy}, {next} {when}", ramp.taken, ramp.steps.len(), words(now))
}

/// Its steps, where it stands in brackets: `10% > [25%] > 50%`.
pub(super) fn path(ramp: &RampStatus) -> String {
    let places = std::iter::once(&ramp.from).chain(&ramp.steps).enumerate();
    let place = |(index, route): (usize, &String)| if index as u64 == ramp.taken { format!("[{}]", words(route)) } else { words(route) };
    places.map(place).collect::<Vec<_>>().join(" > ")
}

/// Whether somebody has to look at it.
pub(super) const fn is_stuck(ramp: &RampStatus) -> bool {
    ramp.stopped.is_some() || !ramp.held.is_empty()
}

/// The gates of a source, and its ramp.
pub(super) fn gates(app: &App, source: &SourceRoute, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let figures = app.data().figures_of(&source.source);
    let note = if figures.is_some_and(|figures| figures.ramp.is_some()) { "of its ramp" } else { "same rules the ramp uses" };
    let inner = frame(area, buffer, "Health gates", note, look);
    let mut rows: Vec<Phrase> = figures.map(|figures| figures.gates.iter().map(|gate| line(gate, look)).collect()).unwrap_or_default();
    if rows.is_empty() {
        rows.push(toned(look, Tone::Dim, " nobody looked yet"));
    }
    match figures.and_then(|figures| figures.ramp.as_ref()) {
        Some(ramp) => {
            let tone = if is_stuck(ramp) { Tone::Warning } else { Tone::Plain };
            rows.push(Phrase::new().plain(" ").add(look, tone, sentence(ramp, look)));
            rows.push(named("steps", look).plain(path(ramp)));
        }
        None => rows.push(Phrase::new().plain(" ").add(look, Tone::Key, "@").plain(" starts a ramp")),
    }
    lines(inner, buffer, rows);
}

fn line(gate: &GateStatus, look: &Look) -> Phrase {
    let (sign, tone) = if gate.green { ("ok", Tone::Plain) } else { ("! ", Tone::Trouble) };
    let value = gate.value.as_deref().map_or_else(|| "-".to_owned(), clean);
    let line = named(&clean(&gate.gate), look)
        .plain(format!("{} ", fit(&value, 18, Side::Right, look)))
        .add(look, tone, sign)
        .plain(format!("  need {}", fit(&clean(&gate.bound), 12, Side::Left, look)));
    match &gate.why {
        Some(why) => line.add(look, tone, clean(why)),
        None => line,
    }
}

/// All gates in one line, where there is no room for more.
pub(super) fn brief(app: &App, source: &SourceRoute) -> Option<Phrase> {
    let (look, figures) = (&app.look, app.data().figures_of(&source.source)?);
    if figures.gates.is_empty() {
        return None;
    }
    let mut line = named("gates", look);
    for gate in &figures.gates {
        let (sign, tone) = if gate.green { ("ok", Tone::Plain) } else { ("!", Tone::Trouble) };
        line = line.plain(format!("{} ", clean(&gate.gate))).add(look, tone, sign).plain("   ");
    }
    Some(line)
}

/// `cutover 25%`
fn words(route: &str) -> String {
    clean(&route.replace('=', " "))
}

/// `14:30`
fn minute(at: &str, look: &Look) -> String {
    look.time_of_day(at).chars().take(5).collect()
}
