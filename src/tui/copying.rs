//! What can be taken away: a row, the command that shows the same, a route for the file.

use serde_json::{Value, json};

use super::{
    app::{App, Effect, Page},
    keys::{Action, Place, Screen},
    text::clean,
};
use crate::wire::SourceRoute;

impl App {
    pub(super) fn copy(&mut self, action: Action) -> Vec<Effect> {
        let text = match action {
            Action::CopyToml => self.source().and_then(|source| self.data().source(&source).map(toml)),
            Action::CopyCommand => Some(self.command_line()),
            _ => self.row_as_json(),
        };
        if let Some(text) = text {
            self.say(format!("copied: {}", clean(&text.chars().take(60).collect::<String>())));
            return vec![Effect::Copy(text)];
        }
        self.complain("there is nothing here to copy");
        Vec::new()
    }

    /// The command that shows or does the same.
    fn command_line(&self) -> String {
        match (self.page().place(), self.source()) {
            (Place::On(Screen::Overview | Screen::Sources) | Place::Source, Some(source)) => format!("segue route get {source}"),
            (Place::On(Screen::Audit), _) => "segue route history".to_owned(),
            (Place::On(Screen::Journal), _) => "segue hold ls; segue quarantine ls; segue replay list".to_owned(),
            _ => "segue status".to_owned(),
        }
    }

    fn row_as_json(&self) -> Option<String> {
        if let Page::Event { .. } = self.page() {
            return self.data().event.as_ref().and_then(|event| serde_json::to_string(event).ok());
        }
        let (pane, key) = self.selected()?;
        let table = self.table(pane);
        let row = table.rows.iter().find(|row| row.key == key)?;
        let cells = table.columns.iter().zip(&row.cells).filter(|(column, _)| !column.name.trim().is_empty());
        let object: serde_json::Map<String, Value> =
            cells.map(|(column, cell)| (column.name.to_lowercase(), json!(cell.text.trim()))).collect();
        serde_json::to_string(&object).ok()
    }
}

/// What to write into the configuration for the route to stay.
fn toml(source: &SourceRoute) -> String {
    let route = if source.route.route.starts_with('{') { source.route.route.clone() } else { format!("{:?}", source.route.route) };
    format!("# source {}\nroute = {route}\nverify = {:?}\n", source.source, source.route.verify)
}
