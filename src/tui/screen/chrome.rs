//! What stands around every page: the header, the screens, the message line, the keys.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use super::super::{
    app::{App, Page, Prompt},
    data::{Flow, Link},
    figure::{lag, pace, span},
    keys::{Action, BINDINGS, Binding, Screen},
    look::{Sign, Tone},
    palette,
    text::{Phrase, clean, cut, toned, width},
};

/// Screens as wide as this show names in full.
const WIDE: u16 = 110;

/// The first two lines. The first never goes.
pub(super) fn header(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let mode = mode(app);
    let line = match alarm(app) {
        Some(text) => {
            let room = area.width.saturating_sub(width(&mode) + 2);
            let text = cut(&text, room, look);
            let filled = format!(" {text}{}", " ".repeat(usize::from(area.width.saturating_sub(width(&text) + 1))));
            toned(look, Tone::Alarm, filled)
        }
        None => calm(app, area.width.saturating_sub(width(&mode) + 2)),
    };
    line.put(area, 0, buffer);
    let tone = if app.armed().is_some() { Tone::Warning } else { Tone::Strong };
    let tone = if alarm(app).is_some() { Tone::Alarm } else { tone };
    toned(look, tone, format!("{mode} ")).put_right(area, 0, buffer);
    screens(app, area, buffer);
}

/// The usual header: what came, what went, how far behind. What matters least goes first where there is no room.
fn calm(app: &App, room: u16) -> Phrase {
    let (look, data) = (&app.look, app.data());
    let is_wide = room >= WIDE - 12;
    let link = match &data.link {
        Link::Live => look.sign(Sign::Live),
        Link::Waiting | Link::Lost { .. } => look.sign(Sign::Lost),
    };
    let (segment, rudder, revision) = if is_wide { ("Segment", "RudderStack", "rev ") } else { ("SEG", "RS", "r") };
    let revision = format!("{revision}{}", data.status.as_ref().map_or(0, |status| status.revision));
    let name = cut(&clean(&app.name), if is_wide { 24 } else { 12 }, look);
    let troubles = data.status.as_ref().map_or(0, |status| status.troubles.len());
    // Each with its rank: 0 stays.
    let mut pieces = vec![
        (0, Tone::Strong, "segue".to_owned()),
        (0, Tone::Plain, format!("{name} {link}{}", if is_wide { " live" } else { "" })),
        (2, Tone::Plain, revision),
        (0, Tone::Plain, format!("in {}/s", pace(data.pace(Flow::Received)))),
        (3, Tone::Segment, format!("{segment} {}/s", pace(data.pace(Flow::Segment)))),
        (3, Tone::Rudder, format!("{rudder} {}/s", pace(data.pace(Flow::Rudder)))),
        (1, Tone::Plain, format!("lag {}", lag(data.worst_wait()))),
    ];
    if troubles > 0 {
        pieces.push((0, Tone::Trouble, format!("! {troubles}")));
    }
    if data.missed > 0 {
        pieces.push((4, Tone::Plain, format!("missed {}", data.missed)));
    }
    let gap = if is_wide { "   " } else { "  " };
    while pieces.iter().map(|(_, _, text)| width(text) + width(gap)).sum::<u16>() > room {
        let Some(worst) = pieces.iter().map(|(rank, ..)| *rank).max().filter(|rank| *rank > 0) else { break };
        pieces.retain(|(rank, ..)| *rank < worst);
    }
    let mut line = Phrase::new().plain(" ");
    for (index, (_, tone, text)) in pieces.into_iter().enumerate() {
        line = line.plain(if index == 0 { "" } else { gap }).add(look, tone, text);
    }
    line
}

/// What turns the header over.
fn alarm(app: &App) -> Option<String> {
    let data = app.live();
    match &data.link {
        Link::Lost { since, attempt, next, why, .. } => {
            let gone = span(Duration::from_secs(app.now.saturating_sub(*since).as_secs()));
            let wait = next.saturating_sub(app.now).as_secs();
            let next = if wait == 0 { "now".to_owned() } else { format!("in {wait}s") };
            let values =
                data.status.as_ref().map_or_else(String::new, |status| format!("   values are from {}", app.look.time_of_day(&status.at)));
            return Some(format!(
                "segue  {}  {} DISCONNECTED {gone}   try {attempt} {next} (ctrl-r now){values}   {}",
                clean(&app.name),
                app.look.sign(Sign::Lost),
                clean(why)
            ));
        }
        Link::Waiting | Link::Live => {}
    }
    let status = data.status.as_ref()?;
    if let Some(kill) = &status.kill {
        let who = clean(&kill.by);
        return Some(format!(
            "segue  KILL SWITCH since {} by {who}: everything goes to Segment   in {}/s  Segment {}/s   K: back",
            app.look.time_of_day(&kill.at),
            pace(data.pace(Flow::Received)),
            pace(data.pace(Flow::Segment))
        ));
    }
    let state = status.journal.state.as_str();
    match state {
        "writable" => None,
        "full" => Some("segue  JOURNAL FULL: relayed live to Segment, or answered 429; apps keep their events   7: why".to_owned()),
        _ => Some("segue  JOURNAL CANNOT WRITE: relayed live to Segment, or answered 429   see the sidecar's log".to_owned()),
    }
}

/// What changes may be made.
fn mode(app: &App) -> String {
    let frozen = if app.is_frozen() { "FROZEN " } else { "" };
    let mode = match app.armed() {
        _ if !app.live().is_live() => "STALE".to_owned(),
        Some(left) => format!("ARMED {}m", left.as_secs().div_ceil(60)),
        None => "VIEW".to_owned(),
    };
    format!("{frozen}{mode}")
}

fn screens(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let mut line = Phrase::new();
    for (index, screen) in Screen::ALL.into_iter().enumerate() {
        let (long, short) = screen.names();
        let name = if area.width >= WIDE { long } else { short };
        let text = format!("{} {name}", index + 1);
        line = if app.screen() == screen { line.add(look, Tone::Strong, format!("[{text}]")) } else { line.plain(format!(" {text} ")) };
        line = line.plain(if area.width >= WIDE { " " } else { "" });
    }
    let inside = match app.page() {
        Page::Screen(_) => String::new(),
        Page::Source(source) => format!(" > {}", clean(source)),
        Page::Event { .. } => " > event".to_owned(),
        Page::Entry(id) => format!(" > entry {id}"),
    };
    line.plain(inside).put(area, 1, buffer);
}

/// The message line, and the keys.
pub(super) fn footer(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let (message, keys) = (area.height - 2, area.height - 1);
    match (&app.prompt, &app.toast) {
        (Some(Prompt::Filter(input)), _) => {
            let text = format!(" filter: {}_", clean(input.value()));
            Phrase::new()
                .add(look, Tone::Strong, text)
                .add(look, Tone::Dim, "   words, !word for without; enter keeps it, esc clears it")
                .put(area, message, buffer);
        }
        (Some(Prompt::Command { input, .. }), _) => {
            let found = palette::candidates(input.value(), app.live());
            let hint = cut(&found.join("  "), area.width.saturating_sub(width(input.value()) + 8), look);
            Phrase::new()
                .add(look, Tone::Strong, format!(" :{}_", clean(input.value())))
                .add(look, Tone::Dim, format!("   {hint}"))
                .put(area, message, buffer);
        }
        (None, Some(toast)) => {
            let tone = if toast.is_trouble { Tone::Trouble } else { Tone::Strong };
            let sign = if toast.is_trouble { "!" } else { " " };
            toned(look, tone, cut(&format!("{sign}{}", toast.text), area.width, look)).put(area, message, buffer);
        }
        (None, None) => {}
    }
    let mut shown: Vec<&Binding> =
        BINDINGS.iter().filter(|binding| binding.footer.is_some() && binding.works(app.page().place())).collect();
    shown.sort_by_key(|binding| binding.footer);
    let mut line = Phrase::new();
    // What opens the rest is always there.
    let (rest, last): (Vec<&Binding>, Vec<&Binding>) = shown.into_iter().partition(|binding| binding.footer < Some(50));
    let tail: u16 = last.iter().map(|binding| width(binding.keys[0]) + width(binding.label) + 3).sum();
    // Without a table there is nothing to open, to filter or to sort.
    let has_table = app.pane().is_some();
    let needs_table = |binding: &&&Binding| !matches!(binding.action, Action::Open | Action::Filter | Action::Sort | Action::Zoom);
    for binding in rest.iter().filter(|binding| has_table || needs_table(binding)) {
        let (key, label) = (binding.keys[0], binding.label);
        if line.width() + width(key) + width(label) + 3 + tail > area.width {
            continue;
        }
        line = line.plain(" ").add(look, Tone::Key, key).plain(format!(" {label} "));
    }
    for binding in last {
        line = line.plain(" ").add(look, Tone::Key, binding.keys[0]).plain(format!(" {} ", binding.label));
    }
    line.put(area, keys, buffer);
}
