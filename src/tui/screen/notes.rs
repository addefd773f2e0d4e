//! What needs attention, and what is said where there is nothing to show yet.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        data::Link,
        dialog::in_words,
        look::{Look, Tone},
        text::{Phrase, Side, clean, cut, fit, width, wrapped},
    },
    frame, lines, ramp,
};
use crate::{model::WallTime, wire::RouteEvent};

/// One line of what needs attention.
#[derive(Debug, Clone)]
pub(super) struct Note {
    is_trouble: bool,
    time: String,
    about: String,
    what: String,
    hint: &'static str,
}

impl Note {
    /// Its lines: so many at most.
    pub(super) fn lines(&self, columns: u16, lines_max: usize, look: &Look) -> Vec<Phrase> {
        let (sign, tone) = if self.is_trouble { ("!", Tone::Trouble) } else { ("i", Tone::Dim) };
        let is_wide = columns >= 100;
        let time = if is_wide { format!("{} ", fit(&self.time, 8, Side::Left, look)) } else { String::new() };
        let head = format!("{time}{} ", fit(&self.about, 16, Side::Left, look));
        let hint = if is_wide { self.hint } else { "" };
        let indent = width(&head) + 3;
        let room = columns.saturating_sub(indent + width(hint) + 1);
        let mut parts = wrapped(&self.what, room);
        if parts.len() > lines_max {
            // What is left is cut, not lost: the last line says so.
            let rest = parts.split_off(lines_max - 1).join(" ");
            parts.push(cut(&rest, room, look));
        }
        let text_tone = if self.is_trouble { Tone::Strong } else { Tone::Plain };
        let line = |(index, part): (usize, String)| {
            let part = fit(&part, room, Side::Left, look);
            if index == 0 {
                let first = Phrase::new().plain(" ").add(look, tone, sign).plain(format!(" {head}"));
                first.add(look, text_tone, part).plain(" ").add(look, Tone::Dim, hint)
            } else {
                Phrase::new().plain(" ".repeat(usize::from(indent))).add(look, text_tone, part)
            }
        };
        parts.into_iter().enumerate().map(line).collect()
    }
}

/// What needs attention, the worst first; then the newest change.
pub(super) fn attention(app: &App) -> Vec<Note> {
    let data = app.data();
    let Some(status) = &data.status else { return Vec::new() };
    let mut notes: Vec<Note> = status
        .troubles
        .iter()
        .map(|trouble| {
            let about = trouble
                .source
                .as_deref()
                .map(clean)
                .or_else(|| trouble.destination.as_deref().map(|name| super::super::dialog::named(name).to_owned()));
            Note {
                is_trouble: true,
                time: String::new(),
                about: about.unwrap_or_else(|| "segue".to_owned()),
                what: clean(&format!("{}. {}", with_times(&trouble.what, &app.look), trouble.fix)),
                hint: if trouble.kind.contains("quarantine") || trouble.kind.contains("parked") { "7 Journal" } else { "" },
            }
        })
        .collect();
    if !app.live().is_live() {
        notes.insert(
            0,
            Note {
                is_trouble: true,
                time: String::new(),
                about: "not connected".to_owned(),
                what: format!(
                    "all of this is as it was at {}; the sidecar goes on without viewers, if it runs",
                    app.look.time_of_day(&status.at)
                ),
                hint: "ctrl-r: now",
            },
        );
    }
    for source in data.sources() {
        let figures = data.figures_of(&source.source);
        if let Some(lost) = figures.map(|figures| figures.unjournalled).filter(|lost| *lost > 0) {
            notes.push(Note {
                is_trouble: true,
                time: String::new(),
                about: clean(&source.name),
                what: format!("{lost} events never reached RudderStack: they could not be journalled"),
                hint: "7 Journal",
            });
        }
    }
    for source in data.sources() {
        let Some(ramp) = data.figures_of(&source.source).and_then(|figures| figures.ramp.as_ref()) else { continue };
        notes.push(Note {
            is_trouble: ramp::is_stuck(ramp),
            time: app.look.time_of_day(&ramp.moved_at),
            about: clean(&source.name),
            what: ramp::sentence(ramp, &app.look),
            hint: "@: ramp",
        });
    }
    if !status.drift.is_empty() {
        let names: Vec<String> = status.drift.iter().map(|name| clean(name)).collect();
        notes.push(Note {
            is_trouble: false,
            time: String::new(),
            about: "not as in file".to_owned(),
            what: format!("the configuration file has another route for {}: a new instance starts with that", names.join(", ")),
            hint: "yt: copy TOML",
        });
    }
    if data.sources().iter().all(|source| data.figures_of(&source.source).is_none_or(|figures| figures.received == 0)) {
        notes.push(Note {
            is_trouble: false,
            time: String::new(),
            about: "no events yet".to_owned(),
            what: "does an app talk to this sidecar? point one SDK's host here, send one event, watch it in 4 Tap".to_owned(),
            hint: "",
        });
    }
    if let Some(change) = data.history.first() {
        notes.push(Note {
            is_trouble: false,
            time: app.look.time_of_day(&change.at),
            about: format!("rev {}", change.revision),
            what: format!(
                "{}  {}{}",
                clean(&change.by),
                told(change),
                change.reason.as_deref().map(|reason| format!("  \"{}\"", clean(reason))).unwrap_or_default()
            ),
            hint: "u: undo",
        });
    }
    notes
}

/// The text with its moments as times of day.
fn with_times(text: &str, look: &Look) -> String {
    let word = |word: &str| match word.trim_end_matches([':', ',', '.']) {
        moment if moment.len() >= 20 && WallTime::parse(moment).is_some() => word.replace(moment, &look.time_of_day(moment)),
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A change, in a few words.
pub(super) fn told(change: &RouteEvent) -> String {
    let whose = change.source.as_deref().map_or_else(|| "(all)".to_owned(), clean);
    let to = change.destination.as_deref().map(|destination| format!(" to {destination}")).unwrap_or_default();
    match (&change.from, &change.to, &change.from_limit, &change.to_limit) {
        (Some(from), Some(to), ..) => format!("{} {whose} {} -> {}", change.what, in_words(from), in_words(to)),
        (_, _, Some(from), Some(limit)) => format!("{} {whose}{to} {from} -> {limit}", change.what),
        _ if !change.steps.is_empty() => format!("{} {whose} {}", change.what, clean(&change.steps.join(" > ").replace('=', " "))),
        _ => format!("{} {}{to}", change.what, change.ramp.map_or(whose, |ramp| format!("of rev {ramp}"))),
    }
}

/// Nothing was heard of the sidecar yet.
pub(super) fn unheard(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let inner = frame(area, buffer, "segue top", "", look);
    let text = match &app.data().link {
        Link::Waiting | Link::Live => vec![format!("connecting to {}", clean(&app.name))],
        Link::Lost { why, .. } => vec![
            format!("no sidecar yet: {}", clean(why)),
            String::new(),
            "Is one running?    segue run".to_owned(),
            "Another socket:    segue top --attach PATH".to_owned(),
            "Nothing set up?    segue demo   shows everything without an account".to_owned(),
            String::new(),
            "It is tried again by itself, for ever; ctrl-r tries now, q quits.".to_owned(),
        ],
    };
    let rows = text
        .iter()
        .flat_map(|line| wrapped(line, inner.width.saturating_sub(4)))
        .map(|line| super::super::text::plain(format!("  {line}")));
    lines(Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner }, buffer, rows);
}
