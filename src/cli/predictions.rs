//! `segue predictions`: what the vendors will not take, by their published rules, and names that end in two places.

use super::{
    Exit,
    attach::{self, Attached},
    census_flags::PredictionsFlags,
    command::Manner,
    inert::cut,
    talk::{Form, Talk},
    versions::path,
};
use crate::{
    model::inert,
    wire::{NamePrediction, Prediction, PredictionSample, Predictions},
};

/// Samples that are shown of each.
const SHOWN_MAX: usize = 3;
/// Names that are shown.
const NAMES_SHOWN_MAX: usize = 40;

/// Tells it; exit 3 when anything is foretold.
pub fn predictions(manner: &Manner, flags: &PredictionsFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let attached = match Attached::find(manner, talk)? {
        Ok(attached) => attached,
        Err(exit) => return Ok(exit),
    };
    let predictions: Predictions = match attached.get(&path("/v1/predictions", flags.source.as_deref()), talk) {
        Ok(predictions) => predictions,
        Err(exit) => return Ok(exit),
    };
    match talk.form() {
        Form::Json => attach::json(talk, &predictions)?,
        Form::Text => talk.result(&page(&predictions))?,
    }
    Ok(if predictions.events.is_empty() && predictions.names.is_empty() { Exit::Done } else { Exit::No })
}

fn page(predictions: &Predictions) -> String {
    let mut lines = Vec::new();
    if predictions.events.is_empty() {
        lines.push("No event broke a rule that either vendor has published.".to_owned());
    } else {
        lines.push("Events that a vendor will not take, by its published rules; they are sent all the same.".to_owned());
        lines.push(format!("{:14} {:11} {:21} {:>9}  {}", "SOURCE", "VENDOR", "REASON", "EVENTS", "AT FAULT"));
        lines.extend(predictions.events.iter().flat_map(event_lines));
    }
    if !predictions.names.is_empty() {
        lines.push(String::new());
        lines.push("Names that end in different columns or tables of the two warehouses.".to_owned());
        lines.push(format!("{:14} {:6} {:26} {:>16} {:>16}", "SOURCE", "WHAT", "PLACE", "SEGMENT", "RUDDERSTACK"));
        lines.extend(predictions.names.iter().take(NAMES_SHOWN_MAX).map(name_line));
        if predictions.names.len() > NAMES_SHOWN_MAX {
            lines.push(format!("... {} more: --json", predictions.names.len() - NAMES_SHOWN_MAX));
        }
    }
    if predictions.more_names {
        lines.push("There are more names than are judged or told.".to_owned());
    }
    lines.join("\n")
}

fn event_lines(prediction: &Prediction) -> Vec<String> {
    let row = format!(
        "{:14} {:11} {:21} {:>9}  {}",
        cut(&prediction.source, 14),
        prediction.vendor,
        prediction.reason,
        prediction.events,
        inert(&prediction.place)
    );
    let sample = |sample: &PredictionSample| {
        let event = sample.event.as_deref().unwrap_or("(no name)");
        format!("    {}  {}  {}", inert(&sample.at), cut(&sample.message_id, 38), cut(event, 24)).trim_end().to_owned()
    };
    std::iter::once(row).chain(prediction.samples.iter().take(SHOWN_MAX).map(sample)).collect()
}

fn name_line(name: &NamePrediction) -> String {
    let (what, place) = match name.reason.as_str() {
        "table_differs" => ("table", &name.name),
        _ => ("column", &name.place),
    };
    format!(
        "{:14} {:6} {:26} {:>16} {:>16}",
        cut(&name.source, 14),
        what,
        cut(place, 26),
        cut(&name.segment, 16),
        cut(&name.rudderstack, 16)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_foretold_is_told_with_samples_and_both_places_of_a_name() {
        let sample =
            PredictionSample { at: "2026-11-23T21:49:55.870Z".into(), message_id: "m-1".into(), event: Some("Order \u{1b}[2J".into()) };
        let event = Prediction {
            source: "web".into(),
            vendor: "segment".into(),
            reason: "properties_not_object".into(),
            place: "properties".into(),
            events: 7,
            first_at: sample.at.clone(),
            last_at: sample.at.clone(),
            samples: vec![sample.clone(); 5],
        };
        let name = NamePrediction {
            source: "web".into(),
            reason: "column_differs".into(),
            place: "properties.userIDs".into(),
            name: "userIDs".into(),
            segment: "user_ids".into(),
            rudderstack: "user_i_ds".into(),
            sample,
        };
        let all = Predictions { schema: String::new(), events: vec![event], names: vec![name; 41], more_names: false };
        let page = page(&all);
        assert!(page.lines().all(|line| line.chars().count() <= 90), "{page}");
        assert!(page.contains(
            "web            segment     properties_not_object         7  properties\n    2026-11-23T21:49:55.870Z  m-1  Order \\u001b[2J"
        ));
        assert!(page.contains("web            column properties.userIDs                 user_ids        user_i_ds"), "{page}");
        assert_eq!((page.matches("m-1").count(), page.contains("... 1 more: --json")), (SHOWN_MAX, true));
    }
}
