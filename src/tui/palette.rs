//! The command line below the screen: the words of `segue` itself. A change opens its dialog; nothing is done at once.

use super::{
    app::Page,
    data::Data,
    dialog::{Aim, STAGES},
    keys::{Action, Screen},
};

/// What a command means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Do(Action),
    Go(Page),
    Open(Box<Aim>),
}

/// All commands: their words, and what they do.
pub(super) const COMMANDS: [(&str, &str); 21] = [
    ("overview", "the first screen"),
    ("sources", "all sources"),
    ("source SOURCE", "one source"),
    ("diffs", "what each side is sent"),
    ("tap", "events as they pass"),
    ("destinations", "both destinations"),
    ("versions", "apps and their versions"),
    ("journal", "lanes, quarantine, replays"),
    ("audit", "who changed what"),
    ("route set SOURCE ROUTE", "change a route: cutover=25%"),
    ("route ramp SOURCE", "start a ramp, or steer the one that runs"),
    ("route undo", "take the newest change back"),
    ("kill on", "everything to Segment"),
    ("kill off", "the routes come back"),
    ("hold SOURCE DESTINATION", "hold a lane"),
    ("release SOURCE DESTINATION", "let it go on"),
    ("unpark SOURCE DESTINATION", "try a parked lane again"),
    ("replay SOURCE DESTINATION", "send again from the journal"),
    ("limit DESTINATION", "change a rate limit"),
    ("help", "the keys"),
    ("quit", "leave; the sidecar goes on"),
];

/// What the line means.
///
/// # Errors
/// What is wrong with it, and what there is.
pub(super) fn read(line: &str, data: &Data) -> Result<Command, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let source = |name: &str| data.source(name).cloned().ok_or_else(|| format!("there is no source {name:?}"));
    let lane = |name: &str, destination: &str| -> Result<(String, String), String> {
        let destination = destination.to_lowercase();
        if !matches!(destination.as_str(), "segment" | "rudderstack") {
            return Err(format!("{destination:?} is no destination: segment, rudderstack"));
        }
        Ok((source(name)?.source, destination))
    };
    let open = |aim: Aim| Ok(Command::Open(Box::new(aim)));
    match words.as_slice() {
        ["source", name] => Ok(Command::Go(Page::Source(source(name)?.source))),
        ["route", "set", name, route] => {
            let mut aim = Aim::flip(vec![source(name)?]);
            let (stage, share) = route.split_once('=').unwrap_or((route, ""));
            let Some(index) = STAGES.iter().position(|known| *known == stage) else {
                return Err(format!("{stage:?} is no route: {}", STAGES.join(", ")));
            };
            if let Aim::Flip { stage, percent, .. } = &mut aim {
                *stage = index;
                if !share.is_empty() {
                    share.trim_end_matches('%').clone_into(percent);
                }
            }
            open(aim)
        }
        ["route", "ramp", name] => {
            let source = source(name)?;
            let running = data.figures_of(&source.source).and_then(|figures| figures.ramp.clone());
            open(running.map_or(Aim::Ramp { source }, |ramp| Aim::RampStep { ramp: Box::new(ramp), picked: 0 }))
        }
        ["route", "undo"] | ["undo"] => open(Aim::Undo { source: None, backfill: false }),
        ["route", "undo", name] => open(Aim::Undo { source: Some(source(name)?.source), backfill: false }),
        ["kill", "on"] => open(Aim::Kill { on: true }),
        ["kill", "off"] => open(Aim::Kill { on: false }),
        ["hold", name, destination] => {
            lane(name, destination).and_then(|(source, destination)| open(Aim::Hold { source, destination, on: true }))
        }
        ["release", name, destination] => {
            lane(name, destination).and_then(|(source, destination)| open(Aim::Hold { source, destination, on: false }))
        }
        ["unpark", name, destination] => {
            lane(name, destination).and_then(|(source, destination)| open(Aim::Unpark { source, destination }))
        }
        ["replay", name, destination] => {
            lane(name, destination).and_then(|(source, destination)| open(Aim::Replay { source, destination }))
        }
        ["limit", destination @ ("segment" | "rudderstack")] => {
            let now = data.limits.iter().find(|limit| limit.source.is_none() && limit.destination == *destination);
            let now = now.map_or_else(|| "none".to_owned(), |limit| limit.limit.clone());
            open(Aim::Limit { source: None, destination: (*destination).to_owned(), now })
        }
        ["help"] => Ok(Command::Do(Action::Help)),
        ["quit" | "q"] => Ok(Command::Do(Action::Quit)),
        [word] => {
            let screen = Screen::ALL.into_iter().find(|screen| named(*screen) == *word);
            screen.map(|screen| Command::Go(Page::Screen(screen))).ok_or_else(|| unknown(line))
        }
        _ => Err(unknown(line)),
    }
}

const fn named(screen: Screen) -> &'static str {
    match screen {
        Screen::Overview => "overview",
        Screen::Sources => "sources",
        Screen::Diffs => "diffs",
        Screen::Tap => "tap",
        Screen::Destinations => "destinations",
        Screen::Versions => "versions",
        Screen::Journal => "journal",
        Screen::Audit => "audit",
    }
}

fn unknown(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    let close: Vec<&str> = COMMANDS.iter().map(|(words, _)| *words).filter(|words| words.starts_with(first)).collect();
    if close.is_empty() {
        format!("there is no command {:?}: tab shows what there is", super::text::clean(line))
    } else {
        format!("{:?} is not whole: {}", super::text::clean(line), close.join("; "))
    }
}

/// The line with its last word completed, as far as that is certain; from an empty line, the first command.
pub(super) fn complete(line: &str, data: &Data) -> String {
    let candidates = candidates(line, data);
    let head = line.rfind(' ').map_or("", |at| &line[..=at]);
    match candidates.as_slice() {
        [] => line.to_owned(),
        [one] if one.ends_with('=') => format!("{head}{one}"),
        [one] => format!("{head}{one} "),
        many => {
            let first = &many[0];
            let common = (0..=first.len())
                .rev()
                .find(|len| first.is_char_boundary(*len) && many.iter().all(|other| other.starts_with(&first[..*len])));
            let typed = &line[head.len()..];
            let common = &first[..common.unwrap_or(0)];
            format!("{head}{}", if common.len() > typed.len() { common } else { typed })
        }
    }
}

/// What the last word of the line can be.
pub(super) fn candidates(line: &str, data: &Data) -> Vec<String> {
    let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let last = if line.ends_with(' ') || line.is_empty() { "" } else { words.pop().unwrap_or_default() };
    let mut found: Vec<String> = Vec::new();
    for (form, _) in COMMANDS {
        let form: Vec<&str> = form.split(' ').collect();
        if form.len() <= words.len() || !form.iter().zip(&words).all(|(form, word)| is_slot(form) || form == word) {
            continue;
        }
        match form[words.len()] {
            "SOURCE" => found.extend(data.sources().iter().map(|source| source.source.clone())),
            "DESTINATION" => found.extend(["segment", "rudderstack"].map(str::to_owned)),
            "ROUTE" => found.extend(["segment-only", "shadow=", "both", "cutover=", "rudderstack-only"].map(str::to_owned)),
            word => found.push(word.to_owned()),
        }
    }
    found.retain(|word| word.starts_with(last));
    found.sort();
    found.dedup();
    found
}

fn is_slot(word: &str) -> bool {
    word.chars().all(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::trial;

    #[test]
    fn commands_are_the_words_of_the_command_line() {
        let data = trial::data();
        let name = data.sources()[0].source.clone();
        let Ok(Command::Open(aim)) = read(&format!("route set {name} cutover=25%"), &data) else { panic!("no dialog") };
        assert!(matches!(*aim, Aim::Flip { stage: 3, ref percent, .. } if percent == "25"), "{aim:?}");
        assert_eq!(read("kill on", &data), Ok(Command::Open(Box::new(Aim::Kill { on: true }))));
        assert_eq!(read("journal", &data), Ok(Command::Go(Page::Screen(Screen::Journal))));
        assert!(read("route set nobody both", &data).is_err_and(|why| why.contains("nobody")));
        assert!(read("route", &data).is_err_and(|why| why.contains("route set SOURCE ROUTE")));
        assert!(read("dance", &data).is_err_and(|why| why.contains("tab")));
    }

    #[test]
    fn tab_completes_words_sources_and_routes() {
        let data = trial::data();
        assert_eq!(complete("rou", &data), "route ");
        assert_eq!(complete("route s", &data), "route set ");
        let name = data.sources()[0].source.clone();
        assert_eq!(complete(&format!("route set {}", &name[..name.len() - 1]), &data), format!("route set {name} "));
        assert_eq!(complete("kill o", &data), "kill o", "on and off");
        assert_eq!(complete("route set x cut", &data), "route set x cutover=");
    }
}
