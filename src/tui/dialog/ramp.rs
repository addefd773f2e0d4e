//! The dialogs of ramps: one that starts one, and one that steers the one that runs.

use super::{
    Dialog, FieldName,
    aim::Aim,
    answer::in_words,
    words::{labelled, labelled_paragraph},
};
use crate::{
    tui::{
        figure::pace,
        look::{Look, Tone},
        question::Change,
        text::{Phrase, Side, clean, fit, toned},
    },
    wire::{RampAsked, RampBegun, RampStatus, RouteChanged, SourceRoute},
};

/// What can be done about a ramp: the words of the API, and what they mean.
pub(super) fn choices(ramp: &RampStatus) -> [(&'static str, &'static str); 2] {
    let first = match ramp.state.as_str() {
        "paused" => ("resume", "it goes on when its gates were green for their window"),
        _ => ("pause", "the route stays, whatever the gates say, until somebody resumes it"),
    };
    [first, ("abort", "it ends; the route stays as it is")]
}

/// Whether steps that are left take something from Segment.
pub(super) fn takes_from_segment(ramp: &RampStatus) -> bool {
    let left = ramp.steps.iter().skip(usize::try_from(ramp.taken).unwrap_or(usize::MAX));
    left.into_iter().any(|route| route != "both" && !route.starts_with("shadow"))
}

impl Dialog {
    /// The ramp that is typed.
    pub(super) fn ramp_change(&self, source: &SourceRoute, reason: Option<String>) -> Result<Change, String> {
        let typed = |name| Some(self.typed(name).to_owned()).filter(|text| !text.is_empty());
        let steps = typed(FieldName::Steps).ok_or("type steps: 10,25,50,100")?;
        Ok(Change::Ramp(Box::new(RampAsked {
            source: source.source.clone(),
            steps,
            kind: None,
            verify: typed(FieldName::Verify).filter(|verify| *verify != source.route.verify),
            every: typed(FieldName::Every),
            gates: typed(FieldName::Gates),
            on_red: typed(FieldName::OnRed),
            if_revision: Some(source.revision),
            reason,
            dry_run: false,
        })))
    }

    /// What a ramp would do.
    pub(super) fn ramp_words(&self, look: &Look, columns: u16) -> Vec<Phrase> {
        let Aim::Ramp { source } = &self.aim else { return Vec::new() };
        let Some(planned) = self.plan_as::<RampBegun>() else { return self.waits(look, columns) };
        let mut lines = vec![labelled("Now", look).plain(in_words(&source.route))];
        let shown = planned.steps.iter().take(6).enumerate();
        lines.extend(shown.map(|(index, step)| step_line(index + 1, step, look)));
        if planned.steps.len() > 6 {
            lines.push(labelled("", look).plain(format!("and {} more", planned.steps.len() - 6)));
        }
        let then = if planned.on_red == "back" { "goes a step back toward Segment" } else { "stays where it is" };
        lines.extend(labelled_paragraph("Gates", &clean(&planned.bounds.replace(',', ", ")), look, columns));
        lines.extend(labelled_paragraph("On red", &format!("it {then}; green for the window before each step"), look, columns));
        let red: Vec<String> = planned.gates.iter().filter_map(|gate| gate.why.clone()).collect();
        if !red.is_empty() {
            lines.extend(labelled_paragraph("Red now", &clean(&red.join("; ")), look, columns));
        }
        for note in &planned.notes {
            lines.extend(labelled_paragraph("Note", &clean(note), look, columns));
        }
        lines
    }

    /// What can be done about the ramp that runs.
    pub(super) fn steering_words(&self, look: &Look, columns: u16) -> Vec<Phrase> {
        let Aim::RampStep { ramp, picked } = &self.aim else { return Vec::new() };
        let mut lines = Vec::new();
        for (index, (verb, meaning)) in choices(ramp).into_iter().enumerate() {
            let (sign, tone) = if index == *picked { ("(*)", Tone::Strong) } else { ("( )", Tone::Plain) };
            lines.push(Phrase::new().add(look, tone, format!("{sign} {}", fit(verb, 10, Side::Left, look))).add(look, Tone::Dim, meaning));
        }
        lines.push(Phrase::new());
        let steps = ramp.steps.join(" > ").replace('=', " ");
        lines.extend(labelled_paragraph(
            "Steps",
            &format!("{} of {} taken: {}", ramp.taken, ramp.steps.len(), clean(&steps)),
            look,
            columns,
        ));
        let stands = ramp.stopped.clone().unwrap_or_else(|| ramp.held.join("; "));
        if !stands.is_empty() {
            lines.extend(labelled_paragraph(&ramp.state, &clean(&stands), look, columns));
        }
        lines.extend(labelled_paragraph("Gates", &clean(&ramp.bounds.replace(',', ", ")), look, columns));
        if let [.., (_, Some(Err(refusal)))] = self.plans.as_slice() {
            lines.push(toned(look, Tone::Trouble, clean(&refusal.what)));
        }
        lines
    }
}

/// `Step 1  cutover 10%  Segment  90%  362/s   RudderStack  10%   40/s`
fn step_line(number: usize, step: &RouteChanged, look: &Look) -> Phrase {
    let after = &step.after.route;
    let side = |share: &str, shift: Option<f64>| format!("{share:>5} {:>6}/s", shift.map_or_else(|| "?".to_owned(), pace));
    let impact = step.impact.as_ref();
    Phrase::new()
        .add(look, Tone::Dim, fit(&format!("Step {number}"), 8, Side::Left, look))
        .plain(fit(&clean(&after.route.replace('=', " ")), 17, Side::Left, look))
        .add(look, Tone::Segment, format!(" Segment{}", side(&after.segment, impact.map(|impact| impact.segment.after))))
        .add(look, Tone::Rudder, format!("   RudderStack{}", side(&after.rudderstack, impact.map(|impact| impact.rudderstack.after))))
}
