//! One entry of the quarantine: what was refused, why, and the event itself.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        look::Tone,
        text::{Phrase, clean, plain, toned, wrapped},
    },
    frame,
    journal::fact,
    lines,
    sources::trouble,
};

pub(super) fn draw(app: &App, id: u64, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let inner = frame(area, buffer, &format!("Quarantine, entry {id}"), "r sends it again   esc goes back", look);
    let Some(detail) = app.data().entry.as_ref().filter(|detail| detail.entry.id == id) else {
        match app.data().unanswered.get("entry") {
            Some(refusal) => trouble(look, format!(" {}", clean(&refusal.what))).put(inner, 0, buffer),
            None => toned(look, Tone::Dim, " asking").put(inner, 0, buffer),
        }
        return;
    };
    let entry = &detail.entry;
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    let mut rows: Vec<Phrase> = vec![
        fact("event", look).plain(format!("{} {}   {} events", text(&entry.kind), text(&entry.name), entry.events)),
        fact("source", look).plain(clean(&entry.source)),
        fact("messageId", look).plain(text(&entry.message_id)),
        fact("refused by", look).plain(format!(
            "{} with {}   {}",
            super::super::dialog::named(&entry.destination),
            entry.status,
            look.day_and_time(&entry.at)
        )),
    ];
    let columns = inner.width.saturating_sub(15);
    for (name, text) in [("why", &entry.reason), ("answer", &detail.answer)] {
        for (index, line) in wrapped(&clean(text), columns).into_iter().enumerate() {
            rows.push(fact(if index == 0 { name } else { "" }, look).plain(line));
        }
    }
    let masked = if detail.masked { "what tells of a person is masked" } else { "shown unmasked" };
    rows.push(Phrase::new());
    rows.push(toned(look, Tone::Dim, format!(" The event in the form that was refused; {masked}:")));
    match &detail.event {
        Some(event) => {
            let text = serde_json::to_string_pretty(event).unwrap_or_default();
            rows.extend(text.lines().map(|line| plain(format!(" {}", clean(line)))));
        }
        None => rows.push(plain(" it is not JSON")),
    }
    let last = rows.len().saturating_sub(usize::from(inner.height));
    lines(inner, buffer, rows.into_iter().skip(app.scroll.min(last)));
}
