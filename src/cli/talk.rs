//! How commands talk: results on stdout, talk on stderr, colour where it is welcome.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::command::{Colour, Manner};
use crate::config::{Problems, Severity};

/// The voice of one command.
#[derive(Debug)]
pub struct Talk {
    form: Form,
    quiet: u8,
    paint: Paint,
    /// The instance that results and errors are about; None: there is only one.
    instance: Option<String>,
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Whether stderr and stdout are painted.
#[derive(Debug, Clone, Copy)]
struct Paint {
    stdout: Brush,
    stderr: Brush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brush {
    Plain,
    Coloured,
}

impl Talk {
    /// The voice that the flags and the environment ask for.
    pub fn new(manner: &Manner) -> Self {
        let brush = |terminal: bool| match manner.color {
            Colour::Always => Brush::Coloured,
            Colour::Auto if terminal && welcome() => Brush::Coloured,
            Colour::Auto | Colour::Never => Brush::Plain,
        };
        let paint = Paint { stdout: brush(io::stdout().is_terminal()), stderr: brush(io::stderr().is_terminal()) };
        Self { form: if manner.json { Form::Json } else { Form::Text }, quiet: manner.quiet, paint, instance: None }
    }

    /// The same voice, speaking about one of several instances.
    #[must_use]
    pub fn about(&self, instance: &str) -> Self {
        Self { form: self.form, quiet: self.quiet, paint: self.paint, instance: Some(instance.to_owned()) }
    }

    /// The form that results take.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Whether colour is welcome on stdout.
    pub fn is_painted(&self) -> bool {
        self.paint.stdout == Brush::Coloured
    }

    /// Prints a result.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn result(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let text = match (&self.instance, self.form) {
            (None, _) => text.to_owned(),
            (Some(instance), Form::Text) => format!("{instance}:\n{text}"),
            // Each answer is one object, so the line is one, too.
            (Some(instance), Form::Json) => format!("{{\"instance\":{},\"answer\":{text}}}", serde_json::Value::from(instance.as_str())),
        };
        writeln!(stdout, "{}", painted(&text, self.paint.stdout))?;
        stdout.flush()
    }

    /// Prints a result as one JSON object on one line.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(self.result(&serde_json::to_string(value)?)?)
    }

    /// Tells of problems, unless only errors are wanted and there are none.
    pub fn problems(&self, problems: &Problems) {
        if !problems.is_empty() && (self.quiet < 2 || problems.count(Severity::Error) > 0) {
            say(&painted(&problems.to_string(), self.paint.stderr));
        }
    }

    /// Tells what is going on, unless it should be quiet.
    pub fn note(&self, text: &str) {
        if self.quiet == 0 {
            say(text);
        }
    }

    /// Tells why a command failed, with the causes.
    pub fn error(&self, error: &anyhow::Error) {
        let about = self.instance.as_ref().map(|instance| format!("{instance}: ")).unwrap_or_default();
        say(&painted(&format!("error: {about}{error:#}"), self.paint.stderr));
    }
}

/// A line of talk. Its reader may be gone (`segue run 2>&1 | head -1`), which is no reason to stop: what is run goes on.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a terminal's user wants colour, by the usual variables.
fn welcome() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Paints the first word of errors and warnings and the carets; the text stays the same without it.
fn painted(text: &str, brush: Brush) -> String {
    if brush == Brush::Plain {
        return text.to_owned();
    }
    let line = |line: &str| {
        for (word, colour) in [("error:", "\u{1b}[1;31m"), ("warning:", "\u{1b}[1;33m")] {
            if let Some(rest) = line.strip_prefix(word) {
                return format!("{colour}{word}\u{1b}[0m{rest}");
            }
        }
        line.to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
