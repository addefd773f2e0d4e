//! What a dialog says: what is now, what would be, and what cannot be taken back.

use super::{
    Dialog, FieldName, Focus, Level,
    aim::{Aim, BACKFILL_RATE, STAGES, has_percent},
    answer::in_words,
};
use crate::{
    tui::{
        data::{Data, Flow},
        figure::{about, count, pace, span},
        look::{Look, Sign, Tone},
        text::{Phrase, Side, clean, fit, plain, toned, wrapped},
    },
    wire::{Impact, KillStatus, QuarantineMoved, ReplayPlan, RoutesChanged, Shift, SourceRoute},
};

/// Where figures begin.
const LABEL: u16 = 14;

impl Dialog {
    /// Its title, and whether it is dangerous.
    pub(super) fn title(&self) -> (String, Option<&'static str>) {
        let danger = self.aim.takes_from_segment(self).then_some("danger: Segment gets less");
        let title = match &self.aim {
            Aim::Flip { sources, .. } => match sources.as_slice() {
                [one] => format!("Change route: {}", clean(&one.name)),
                many => format!("Change the routes of {} sources", many.len()),
            },
            Aim::Kill { on: true } => "KILL SWITCH: send everything to Segment".to_owned(),
            Aim::Kill { on: false } => "Lift the kill switch".to_owned(),
            Aim::Undo { source: None, .. } => "Undo the newest change".to_owned(),
            Aim::Undo { source: Some(source), .. } => format!("Undo the newest change of {}", clean(source)),
            Aim::Hold { source, destination, on: true } => format!("Hold {} to {}", clean(source), named(destination)),
            Aim::Hold { source, destination, on: false } => format!("Let {} to {} go on", clean(source), named(destination)),
            Aim::Unpark { source, destination } => format!("Try {} to {} again", clean(source), named(destination)),
            Aim::Limit { source: None, destination, .. } => format!("Limit of all sources to {}", named(destination)),
            Aim::Limit { source: Some(source), destination, .. } => format!("Limit of {} to {}", clean(source), named(destination)),
            Aim::Replay { source, destination } => format!("Send {} to {} again", clean(source), named(destination)),
            Aim::Step { id, step, .. } => format!("{} replay {id}", capital(step)),
            Aim::Redrive { .. } => "Send again from the quarantine".to_owned(),
            Aim::Ramp { source } => format!("Ramp: {}", clean(&source.name)),
            Aim::RampStep { ramp, .. } => format!("The ramp of {}", clean(&ramp.name)),
        };
        (title, danger)
    }

    /// What it says above the lines that can be typed into.
    pub(super) fn words(&self, data: &Data, look: &Look, columns: u16, is_low: bool) -> Vec<Phrase> {
        match &self.aim {
            Aim::Flip { .. } => self.flip(data, look, columns, is_low),
            Aim::Kill { on } => self.kill(*on, data, look, columns),
            Aim::Undo { backfill, .. } => self.undo(*backfill, look, columns),
            Aim::Replay { .. } => self.replay(look, columns),
            Aim::Ramp { .. } => self.ramp_words(look, columns),
            Aim::RampStep { .. } => self.steering_words(look, columns),
            Aim::Redrive { what, .. } => {
                let events = self.plan_as::<QuarantineMoved>().map_or_else(|| "?".to_owned(), |moved| count(moved.events));
                paragraph(
                    &format!(
                        "{what}: {events} events go the way of all events once more, with their own times. What is refused again comes back into the quarantine."
                    ),
                    columns,
                )
            }
            Aim::Hold { on: true, .. } => paragraph(
                "Nothing is sent from this lane, everything is kept in the journal. The other lanes go on. What is in flight finishes.",
                columns,
            ),
            Aim::Hold { on: false, .. } => paragraph("What waited is sent in order, as fast as its limit lets it.", columns),
            Aim::Unpark { .. } => {
                paragraph("It is tried at once. When the destination refuses again, the lane is parked again and nothing is lost.", columns)
            }
            Aim::Limit { now, .. } => {
                paragraph(&format!("Now {now}. What is above a limit waits in the journal; apps never do. Type 200/s, or none."), columns)
            }
            Aim::Step { step: "cancel", .. } => paragraph(
                "What it has sent stays sent; the rest is not sent. A new replay can send it later, as long as the journal has it.",
                columns,
            ),
            Aim::Step { .. } => paragraph("It keeps its place.", columns),
        }
    }

    fn flip(&self, data: &Data, look: &Look, columns: u16, is_low: bool) -> Vec<Phrase> {
        let Aim::Flip { sources, stage, percent, .. } = &self.aim else { return Vec::new() };
        let mut lines = Vec::new();
        // Once it is picked, a low screen needs the room for what it means.
        if !is_low || self.focus == Focus::Choice {
            lines.push(toned(look, Tone::Dim, format!("{:24}SEG / RS %", "")));
            lines.extend((0..STAGES.len()).map(|index| self.stage_line(index, *stage, percent, look)));
            lines.push(Phrase::new());
        }
        let planned: Vec<RoutesChanged> =
            self.plans.iter().filter_map(|(_, plan)| serde_json::from_value(plan.as_ref()?.as_ref().ok()?.clone()).ok()).collect();
        let changed: Vec<_> = planned.iter().flat_map(|planned| &planned.sources).collect();
        match (sources.as_slice(), changed.as_slice()) {
            ([source], [change]) => {
                let route = format!("{} {} {}", in_words(&source.route), look.sign(Sign::Arrow), in_words(&change.after.route));
                lines.push(labelled("Route", look).add(look, Tone::Strong, route));
                if let Some(impact) = &change.impact {
                    lines.extend(impact_lines(impact, source, &change.after, look, columns));
                }
            }
            ([source], []) => {
                let (now, picked) = (in_words(&source.route), self.aim.route().unwrap_or_default().replace('=', " "));
                let is_answered = !self.plans.is_empty() && self.plans.iter().all(|(_, plan)| plan.is_some());
                let text = if is_answered {
                    format!("{now}, as it stands")
                } else {
                    format!("{now} {} {picked}   asking ...", look.sign(Sign::Arrow))
                };
                lines.push(labelled("Route", look).plain(text));
            }
            _ => {
                for source in sources.iter().take(6) {
                    let to = self.aim.route().unwrap_or_default().replace('=', " ");
                    let pace = pace(data.received_pace(&source.source));
                    lines.push(plain(format!(
                        "{}  {} -> {to}   {pace}/s",
                        fit(&clean(&source.name), 24, Side::Left, look),
                        in_words(&source.route)
                    )));
                }
                if sources.len() > 6 {
                    lines.push(plain(format!("and {} more", sources.len() - 6)));
                }
            }
        }
        lines
    }

    /// One of the stages that can be picked.
    fn stage_line(&self, index: usize, stage: usize, percent: &str, look: &Look) -> Phrase {
        let is_picked = index == stage;
        let sign = if is_picked { "(*)" } else { "( )" };
        let shown = if is_picked { percent } else { "n" };
        let name = match has_percent(index) {
            true if is_picked && self.focus == Focus::Choice => format!("{} [{:>5}]%", fit(STAGES[index], 8, Side::Left, look), percent),
            true => format!("{} {:>6}%", fit(STAGES[index], 8, Side::Left, look), shown),
            false => STAGES[index].to_owned(),
        };
        let meaning = match index {
            0 => "100 / 0     Segment alone, as before segue".to_owned(),
            1 => format!("100 / {shown:<5} RudderStack gets {shown}% of people too"),
            2 => "100 / 100   both get everything".to_owned(),
            3 => format!("{:>3} / {shown:<5} {shown}% of people move to RudderStack", rest(shown)),
            _ => "  0 / 100   Segment gets nothing".to_owned(),
        };
        let tone = match (is_picked, self.focus) {
            (true, Focus::Choice) => Tone::Selected,
            (true, _) => Tone::Strong,
            _ => Tone::Plain,
        };
        Phrase::new().add(look, tone, format!("{sign} {}", fit(&name, 18, Side::Left, look))).plain("  ").add(look, Tone::Dim, meaning)
    }

    fn kill(&self, on: bool, data: &Data, look: &Look, columns: u16) -> Vec<Phrase> {
        let (received, segment, rudder) = (data.pace(Flow::Received), data.pace(Flow::Segment), data.pace(Flow::Rudder));
        let waiting = self.plan_as::<KillStatus>().map(|status| status.waiting);
        let waiting = waiting.map_or_else(|| "events".to_owned(), |waiting| format!("{} events", count(waiting)));
        let sources = data.sources().len();
        let mut lines = Vec::new();
        if on {
            lines.extend(paragraph(&format!("All {sources} sources go to Segment alone, now. Nothing is deleted: the routes are kept and come back when it is lifted (K again)."), columns));
            lines.push(Phrase::new());
            lines.push(labelled("Stops", look).add(look, Tone::Rudder, format!("RudderStack {}/s -> 0/s", pace(rudder))));
            lines.push(labelled("Goes on", look).add(look, Tone::Segment, format!("Segment {}/s -> {}/s", pace(segment), pace(received))));
            lines.push(labelled("Waiting", look).plain(format!("{waiting} for RudderStack are held in the journal")));
            let only: Vec<String> =
                data.sources().iter().filter(|source| source.route.segment == "0%").map(|source| clean(&source.name)).collect();
            if !only.is_empty() {
                let note = format!(
                    "What RudderStack alone got of {} until now stays missing in Segment; replay can send what the journal has.",
                    only.join(", ")
                );
                lines.extend(labelled_paragraph("Note", &note, look, columns));
            }
            lines.push(labelled("From a shell", look).plain("segue kill on"));
        } else {
            lines.extend(paragraph("The routes come back as they were, and what waited for RudderStack is sent:", columns));
            for source in data.sources().iter().take(8) {
                lines.push(plain(format!("  {}  {}", fit(&clean(&source.name), 24, Side::Left, look), in_words(&source.route))));
            }
            lines.push(labelled("Waiting", look).plain(format!("{waiting} for RudderStack")));
            if let Some(by) = data.status.as_ref().and_then(|status| status.kill.as_ref()) {
                lines.push(labelled("On since", look).plain(format!("{} by {}", look.day_and_time(&by.at), clean(&by.by))));
            }
        }
        lines
    }

    fn undo(&self, backfill: bool, look: &Look, columns: u16) -> Vec<Phrase> {
        let Some(planned) = self.plan_as::<RoutesChanged>() else { return self.waits(look, columns) };
        let mut lines = Vec::new();
        for source in planned.sources.iter().take(8) {
            let route = format!("{} {} {}", in_words(&source.before.route), look.sign(Sign::Arrow), in_words(&source.after.route));
            lines.push(
                Phrase::new()
                    .add(look, Tone::Strong, clean(&source.after.name))
                    .plain(format!("  {route}   (rev {})", source.before.revision)),
            );
            if let Some(impact) = &source.impact {
                lines.push(shift_line(
                    "Segment",
                    impact.segment,
                    &source.before.route.segment,
                    &source.after.route.segment,
                    Tone::Segment,
                    look,
                ));
                let (before, after) = (&source.before.route.rudderstack, &source.after.route.rudderstack);
                lines.push(shift_line("RudderStack", impact.rudderstack, before, after, Tone::Rudder, look));
            }
        }
        lines.push(Phrase::new());
        let (mut counting, mut any) = (false, false);
        for missed in self.missed() {
            match missed {
                None => counting = true,
                Some(Err(refusal)) => {
                    lines.extend(paragraph(&format!("What one side alone got cannot be counted: {}", clean(&refusal.what)), columns));
                }
                Some(Ok(plan)) if plan.events > 0 => {
                    any = true;
                    let other = named(if plan.destination == "segment" { "rudderstack" } else { "segment" });
                    let more = if plan.complete { "" } else { " at least, as not all of that time is still kept" };
                    let text = format!(
                        "{other} alone got {} events of {} meanwhile{more}; {} never did.",
                        count(plan.events),
                        clean(&plan.source),
                        named(&plan.destination)
                    );
                    lines.extend(labelled_paragraph("Stays missing", &text, look, columns));
                }
                Some(Ok(_)) => {}
            }
        }
        if counting {
            lines.push(labelled("Stays missing", look).plain("counting what one side alone got meanwhile ..."));
        }
        if any {
            let (only, also) = if backfill { ("( )", "(*)") } else { ("(*)", "( )") };
            lines.push(labelled("", look).plain(format!("{only} undo only")));
            lines.push(
                labelled("", look)
                    .plain(format!("{also} undo, and send that from the journal at {BACKFILL_RATE}   "))
                    .add(look, Tone::Key, "b")
                    .plain(" changes"),
            );
        } else if !counting && !planned.sources.is_empty() {
            lines.push(labelled("Stays missing", look).plain("nothing: neither side missed anything meanwhile"));
        }
        lines
    }

    fn replay(&self, look: &Look, columns: u16) -> Vec<Phrase> {
        let Some(plan) = self.plan_as::<ReplayPlan>() else { return self.waits(look, columns) };
        let mut lines = vec![labelled("Sends", look).add(
            look,
            Tone::Strong,
            format!("{} events of {} people", count(plan.events), count(plan.people)),
        )];
        if let (Some(first), Some(last)) = (&plan.first_at, &plan.last_at) {
            lines.push(labelled("Arrived", look).plain(format!("{} to {}", look.day_and_time(first), look.day_and_time(last))));
        }
        lines.push(labelled("Takes", look).plain(format!(
            "about {} at {}",
            span(std::time::Duration::from_secs(plan.seconds)),
            clean(&plan.rate)
        )));
        lines.push(labelled("Keeps", look).plain("their own times and messageIds; live traffic goes first"));
        for warning in &plan.warnings {
            lines.extend(labelled_paragraph("Warning", &clean(warning), look, columns));
        }
        lines
    }

    /// What is said while there is no plan.
    pub(super) fn waits(&self, look: &Look, columns: u16) -> Vec<Phrase> {
        match self.plans.first() {
            Some((_, Some(Err(refusal)))) => {
                let mut lines: Vec<Phrase> =
                    wrapped(&clean(&refusal.what), columns).into_iter().map(|line| toned(look, Tone::Trouble, line)).collect();
                lines.extend(paragraph(&clean(&refusal.fix), columns));
                lines
            }
            _ => vec![toned(look, Tone::Dim, "asking what it would do")],
        }
    }

    /// What stands beside a line that can be typed into.
    pub(super) fn field_words(&self, name: FieldName) -> (String, &'static str) {
        match name {
            FieldName::Verify => ("Verify".to_owned(), "of people stay on Segment too, to compare"),
            FieldName::Reason => ("Reason".to_owned(), "optional"),
            FieldName::Rate => (if matches!(self.aim, Aim::Limit { .. }) { "Limit" } else { "Rate" }.to_owned(), "events a second: 200/s"),
            FieldName::Steps => ("Steps".to_owned(), "or shadow=10,both,cutover=25"),
            FieldName::Every => ("Every".to_owned(), "at least: 30m"),
            FieldName::Gates => ("Gates".to_owned(), "others: parity>=99.95%,lag=off"),
            FieldName::OnRed => ("On red".to_owned(), "hold, or back"),
            FieldName::From => ("From".to_owned(), "a time, or empty for all that is kept"),
            FieldName::Typed => match self.level() {
                Level::Typed(name) => (format!("Type {}", clean(&name)), ""),
                Level::Yes | Level::Kill => (String::new(), ""),
            },
        }
    }
}

fn impact_lines(impact: &Impact, before: &SourceRoute, after: &SourceRoute, look: &Look, columns: u16) -> Vec<Phrase> {
    let mut lines = vec![
        labelled("", look).add(look, Tone::Dim, format!("{}{}", fit("now", 18, Side::Left, look), "after")),
        shift_line("Segment", impact.segment, &before.route.segment, &after.route.segment, Tone::Segment, look),
        shift_line("RudderStack", impact.rudderstack, &before.route.rudderstack, &after.route.rudderstack, Tone::Rudder, look),
    ];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "events of a day")]
    let day = (impact.received_per_second * 86_400.0).max(0.0) as u64;
    let mut radius = format!("{} events/s, {} a day", pace(impact.received_per_second), about(day));
    if let Some(recent) = &impact.recent {
        let versions = recent.apps.len();
        let plural = if versions == 1 { "" } else { "s" };
        radius = format!("{radius}; of late {} people, {versions} app version{plural}", count(recent.people));
    }
    lines.extend(labelled_paragraph("Blast radius", &radius, look, columns));
    if impact.waiting_for_rudderstack > 0 {
        lines.push(
            labelled("Waiting", look).plain(format!("{} events keep the route they came under", count(impact.waiting_for_rudderstack))),
        );
    }
    for note in &impact.notes {
        lines.extend(labelled_paragraph("Note", &clean(note), look, columns));
    }
    lines
}

/// `Segment   301/s  75%      4/s   1%`
fn shift_line(name: &str, shift: Shift, before: &str, after: &str, tone: Tone, look: &Look) -> Phrase {
    let side = |events: f64, share: &str| format!("{:>8}/s {share:>5}", pace(events));
    let arrow = if shift.before.total_cmp(&shift.after).is_eq() && before == after { "   " } else { look.sign(Sign::Arrow) };
    let text = format!("{} {}{}", side(shift.before, before), fit(arrow, 3, Side::Left, look), side(shift.after, after));
    Phrase::new().add(look, tone, fit(name, LABEL, Side::Left, look)).plain(text)
}

/// What a share leaves.
fn rest(percent: &str) -> String {
    percent.parse::<f64>().map_or_else(|_| "...".to_owned(), |share| (100.0 - share).to_string())
}

/// A line with a name before it.
pub(super) fn labelled(name: &str, look: &Look) -> Phrase {
    Phrase::new().add(look, Tone::Dim, fit(name, LABEL, Side::Left, look))
}

pub(super) fn labelled_paragraph(name: &str, text: &str, look: &Look, columns: u16) -> Vec<Phrase> {
    let lines = wrapped(text, columns.saturating_sub(LABEL));
    lines.into_iter().enumerate().map(|(index, line)| labelled(if index == 0 { name } else { "" }, look).plain(line)).collect()
}

fn paragraph(text: &str, columns: u16) -> Vec<Phrase> {
    wrapped(text, columns).into_iter().map(plain).collect()
}

/// A destination, as people write it.
pub(in crate::tui) fn named(destination: &str) -> &'static str {
    if destination == "segment" { "Segment" } else { "RudderStack" }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
