//! Which key does what: one table, of which the handler, the footer, the help screen and the documentation are made.

use std::fmt::Write;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Down,
    Up,
    First,
    Last,
    HalfDown,
    HalfUp,
    PageDown,
    PageUp,
    Open,
    Back,
    Show(Screen),
    NextPane,
    PreviousPane,
    LastScreen,
    Palette,
    Filter,
    Help,
    Sort,
    SortReverse,
    Mark,
    Freeze,
    Follow,
    Zoom,
    Longer,
    Shorter,
    Noise,
    Unified,
    NextDifference,
    PreviousDifference,
    CopyRow,
    CopyCommand,
    CopyToml,
    Unmask,
    Arm,
    Route,
    Ramp,
    Undo,
    Kill,
    Hold,
    Unpark,
    Limit,
    Replay,
    Pause,
    CancelReplay,
    Reconnect,
    Redraw,
    Suspend,
    Quit,
}

/// The screens that have a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) enum Screen {
    #[default]
    Overview,
    Sources,
    Diffs,
    Tap,
    Destinations,
    Versions,
    Journal,
    Audit,
}

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    On(Screen),
    /// The page of one source.
    Source,
    /// The page of what both sides got of one event.
    Event,
    /// The page of one entry of the quarantine.
    Entry,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Move,
    Look,
    Take,
    Change,
    Program,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding {
    pub(super) action: Action,
    /// The keys, as [`name`] calls them; two letters are pressed one after the other.
    pub(super) keys: &'static [&'static str],
    /// What it does, in a word or two: in the footer.
    pub(super) label: &'static str,
    /// What it does: in the help.
    pub(super) what: &'static str,
    pub(super) group: Group,
    /// Where it works; empty: everywhere.
    pub(super) places: &'static [Place],
    /// Its place in the footer, the first first; None: it is not in it.
    pub(super) footer: Option<u8>,
}

const SOURCES: &[Place] = &[Place::On(Screen::Overview), Place::On(Screen::Sources), Place::Source];
const LANES: &[Place] = &[Place::On(Screen::Journal), Place::On(Screen::Destinations)];
const JOURNAL: &[Place] = &[Place::On(Screen::Journal)];
const REPLAYS: &[Place] = &[Place::On(Screen::Journal), Place::Source, Place::Entry];
const DIFFS: &[Place] = &[Place::On(Screen::Diffs), Place::Event];
const EVENT: &[Place] = &[Place::Event];
const GRAPHS: &[Place] = &[Place::On(Screen::Overview), Place::Source, Place::On(Screen::Destinations)];
const TAP: &[Place] = &[Place::On(Screen::Tap)];
const REVEALS: &[Place] = &[Place::Event, Place::Entry];
const LIMITS: &[Place] = &[Place::On(Screen::Destinations), Place::On(Screen::Sources), Place::Source];

const fn binding(
    action: Action,
    keys: &'static [&'static str],
    label: &'static str,
    what: &'static str,
    group: Group,
    places: &'static [Place],
    footer: Option<u8>,
) -> Binding {
    Binding { action, keys, label, what, group, places, footer }
}

/// All keys.
pub(super) const BINDINGS: &[Binding] = &[
    binding(Action::Down, &["j", "down"], "down", "down", Group::Move, &[], None),
    binding(Action::Up, &["k", "up"], "up", "up", Group::Move, &[], None),
    binding(Action::Open, &["enter", "l", "right"], "open", "open what is selected", Group::Move, &[], Some(10)),
    binding(Action::Back, &["esc", "h", "left"], "back", "close, clear the filter, go back; never quits", Group::Move, &[], None),
    binding(Action::First, &["g", "home"], "first", "first", Group::Move, &[], None),
    binding(Action::Last, &["G", "end"], "last", "last", Group::Move, &[], None),
    binding(Action::HalfDown, &["ctrl-d"], "half", "half a page down", Group::Move, &[], None),
    binding(Action::HalfUp, &["ctrl-u"], "half", "half a page up", Group::Move, &[], None),
    binding(Action::PageDown, &["ctrl-f", "pgdn"], "page", "a page down", Group::Move, &[], None),
    binding(Action::PageUp, &["ctrl-b", "pgup"], "page", "a page up", Group::Move, &[], None),
    binding(Action::NextPane, &["tab"], "pane", "next pane", Group::Move, JOURNAL, Some(11)),
    binding(Action::PreviousPane, &["S-tab"], "pane", "previous pane", Group::Move, JOURNAL, None),
    binding(Action::Show(Screen::Overview), &["1"], "Overview", "Overview", Group::Move, &[], None),
    binding(Action::Show(Screen::Sources), &["2"], "Sources", "Sources", Group::Move, &[], None),
    binding(Action::Show(Screen::Diffs), &["3"], "Diffs", "Diffs: what each side is sent", Group::Move, &[], None),
    binding(Action::Show(Screen::Tap), &["4"], "Tap", "Tap: events as they pass", Group::Move, &[], None),
    binding(Action::Show(Screen::Destinations), &["5"], "Dest", "Destinations", Group::Move, &[], None),
    binding(Action::Show(Screen::Versions), &["6"], "Versions", "Versions of apps", Group::Move, &[], None),
    binding(Action::Show(Screen::Journal), &["7"], "Journal", "Journal: lanes, quarantine, replays", Group::Move, &[], None),
    binding(Action::Show(Screen::Audit), &["8"], "Audit", "Audit: who changed what", Group::Move, &[], None),
    binding(Action::LastScreen, &["-"], "last", "the screen before", Group::Move, &[], None),
    binding(Action::Filter, &["/"], "filter", "filter rows: words, !word for without", Group::Look, &[], Some(30)),
    binding(Action::Palette, &[":"], "command", "type a command; tab completes it", Group::Look, &[], Some(31)),
    binding(Action::Sort, &["s"], "sort", "sort by the next column", Group::Look, &[], Some(40)),
    binding(Action::SortReverse, &["S"], "reverse", "sort the other way round", Group::Look, &[], None),
    binding(Action::Freeze, &["f"], "freeze", "freeze the screen, or let it go on (data keeps arriving)", Group::Look, &[], Some(41)),
    binding(Action::Follow, &["F"], "follow", "follow the newest", Group::Look, TAP, Some(20)),
    binding(Action::Zoom, &["z"], "zoom", "zoom: the table alone", Group::Look, &[], Some(43)),
    binding(Action::Shorter, &["+"], "zoom in", "a shorter window: 24h 6h 1h 10m 1m", Group::Look, GRAPHS, Some(42)),
    binding(Action::Longer, &["_"], "longer", "a longer window", Group::Look, GRAPHS, None),
    binding(Action::Noise, &["I"], "noise", "noise on or off", Group::Look, DIFFS, Some(21)),
    binding(Action::Unified, &["v"], "view", "side by side, or unified", Group::Look, EVENT, Some(22)),
    binding(Action::NextDifference, &["]"], "next", "next difference", Group::Look, EVENT, Some(20)),
    binding(Action::PreviousDifference, &["["], "previous", "previous difference", Group::Look, EVENT, None),
    binding(
        Action::Unmask,
        &["P"],
        "unmask",
        "show what tells of a person (takes the role reveal; written down)",
        Group::Look,
        REVEALS,
        Some(45),
    ),
    binding(
        Action::Mark,
        &["space"],
        "mark",
        "mark the row: changes act on all that are marked",
        Group::Look,
        &[Place::On(Screen::Sources)],
        Some(12),
    ),
    binding(Action::CopyRow, &["yy"], "copy", "copy the row as JSON", Group::Take, &[], None),
    binding(Action::CopyCommand, &["yc"], "copy", "copy the command that does or shows the same", Group::Take, &[], None),
    binding(Action::CopyToml, &["yt"], "copy", "copy the route as TOML", Group::Take, SOURCES, None),
    binding(Action::Route, &["m"], "route", "change the route of what is selected or marked", Group::Change, SOURCES, Some(15)),
    binding(Action::Ramp, &["@"], "ramp", "start a ramp, or pause, resume or end the one that runs", Group::Change, SOURCES, Some(44)),
    binding(Action::Limit, &["L"], "limit", "change a rate limit", Group::Change, LIMITS, Some(17)),
    binding(Action::Hold, &["H"], "hold", "hold a lane, or let it go on", Group::Change, LANES, Some(14)),
    binding(Action::Unpark, &["U"], "unpark", "let a parked lane try again", Group::Change, JOURNAL, None),
    binding(Action::Replay, &["r"], "again", "send again: a lane's gap, or from the quarantine", Group::Change, REPLAYS, Some(16)),
    binding(Action::Pause, &["p"], "pause", "pause a replay, or let it go on", Group::Change, JOURNAL, None),
    binding(Action::CancelReplay, &["c"], "cancel", "cancel a replay", Group::Change, JOURNAL, None),
    binding(Action::Undo, &["u"], "undo", "take the newest change back (asks)", Group::Change, &[], Some(50)),
    binding(Action::Arm, &["W"], "arm", "arm changes for 15 minutes, or disarm", Group::Change, &[], Some(51)),
    binding(Action::Kill, &["K"], "kill switch", "KILL SWITCH: all to Segment (works without W)", Group::Change, &[], Some(52)),
    binding(Action::Help, &["?"], "help", "the keys of this screen", Group::Program, &[], Some(60)),
    binding(Action::Reconnect, &["ctrl-r"], "reconnect", "reconnect and ask everything again", Group::Program, &[], None),
    binding(Action::Redraw, &["ctrl-l"], "redraw", "draw the screen anew", Group::Program, &[], None),
    binding(Action::Suspend, &["ctrl-z"], "suspend", "suspend; fg comes back", Group::Program, &[], None),
    binding(Action::Quit, &["q", "ctrl-c"], "quit", "quit; the sidecar goes on", Group::Program, &[], Some(61)),
];

impl Screen {
    pub(super) const ALL: [Self; 8] =
        [Self::Overview, Self::Sources, Self::Diffs, Self::Tap, Self::Destinations, Self::Versions, Self::Journal, Self::Audit];

    /// Its name, and a shorter one.
    pub(super) const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "Over"),
            Self::Sources => ("Sources", "Src"),
            Self::Diffs => ("Diffs", "Diff"),
            Self::Tap => ("Tap", "Tap"),
            Self::Destinations => ("Dest", "Dest"),
            Self::Versions => ("Versions", "Ver"),
            Self::Journal => ("Journal", "Jrnl"),
            Self::Audit => ("Audit", "Aud"),
        }
    }
}

impl Binding {
    /// Whether it works there.
    pub(super) fn works(&self, place: Place) -> bool {
        self.places.is_empty() || self.places.contains(&place)
    }
}

/// What a key means at a place, after a first key of two or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Does(Action),
    /// The first of two keys.
    First,
    Nothing,
}

/// What the key means.
pub(super) fn meaning(first: Option<&str>, key: &str, place: Place) -> Meaning {
    let pressed = first.map_or_else(|| key.to_owned(), |first| format!("{first}{key}"));
    if let Some(binding) = BINDINGS.iter().find(|binding| binding.works(place) && binding.keys.contains(&pressed.as_str())) {
        return Meaning::Does(binding.action);
    }
    let begins = |binding: &&Binding| binding.works(place) && binding.keys.iter().any(|known| is_pair(known) && known.starts_with(key));
    if first.is_none() && key.len() == 1 && BINDINGS.iter().any(|binding| begins(&binding)) { Meaning::First } else { Meaning::Nothing }
}

/// Whether the name is of two keys that are pressed one after the other.
fn is_pair(name: &str) -> bool {
    name.len() == 2 && name.starts_with('y')
}

/// The name of a key: `j`, `K`, `ctrl-d`, `S-tab`, `enter`.
pub(super) fn name(event: KeyEvent) -> String {
    let name = match event.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(char) => char.to_string(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => "S-tab".to_owned(),
        KeyCode::Backspace => "backspace".to_owned(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        KeyCode::PageUp => "pgup".to_owned(),
        KeyCode::PageDown => "pgdn".to_owned(),
        _ => return String::new(),
    };
    if event.modifiers.contains(KeyModifiers::CONTROL) { format!("ctrl-{name}") } else { name }
}

/// The table as Markdown, for the documentation.
#[must_use]
pub fn documentation() -> String {
    let mut out = String::from("| keys | what they do | where |\n|---|---|---|\n");
    for binding in BINDINGS {
        let keys: Vec<String> = binding.keys.iter().map(|key| format!("`{key}`")).collect();
        let places = |place: &Place| match place {
            Place::On(screen) => screen.names().0,
            Place::Source => "one source",
            Place::Event => "one event",
            Place::Entry => "one entry",
        };
        let places = if binding.places.is_empty() { vec!["everywhere"] } else { binding.places.iter().map(places).collect() };
        // Writing to a String does not fail.
        let _ = writeln!(out, "| {} | {} | {} |", keys.join(" "), binding.what, places.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn everywhere() -> Vec<Place> {
        Screen::ALL.map(Place::On).into_iter().chain([Place::Source, Place::Event, Place::Entry]).collect()
    }

    #[test]
    fn no_key_means_two_things_at_one_place() {
        for place in everywhere() {
            let mut known: HashMap<&str, Action> = HashMap::new();
            for binding in BINDINGS.iter().filter(|binding| binding.works(place)) {
                for key in binding.keys {
                    let other = known.insert(key, binding.action);
                    assert_eq!(other, None, "{key} at {place:?}");
                }
            }
            for key in known.keys().filter(|key| is_pair(key)) {
                assert!(!known.contains_key(&key[..1]), "{key} cannot be reached at {place:?}");
            }
        }
    }

    #[test]
    fn a_key_means_the_same_wherever_it_works() {
        let mut known: HashMap<&str, Action> = HashMap::new();
        for binding in BINDINGS {
            for key in binding.keys {
                assert!(known.insert(key, binding.action).is_none_or(|other| other == binding.action), "{key}");
            }
        }
    }

    #[test]
    fn the_kill_switch_and_the_way_back_work_everywhere() {
        for place in everywhere() {
            assert_eq!(meaning(None, "K", place), Meaning::Does(Action::Kill));
            assert_eq!(meaning(None, "esc", place), Meaning::Does(Action::Back));
            assert_eq!(meaning(None, "q", place), Meaning::Does(Action::Quit));
        }
    }

    #[test]
    fn two_keys_are_pressed_one_after_the_other() {
        let place = Place::On(Screen::Sources);
        assert_eq!(meaning(None, "y", place), Meaning::First);
        assert_eq!(meaning(Some("y"), "t", place), Meaning::Does(Action::CopyToml));
        assert_eq!(meaning(Some("y"), "t", Place::On(Screen::Audit)), Meaning::Nothing);
        assert_eq!(meaning(None, "ctrl-y", place), Meaning::Nothing);
    }

    #[test]
    fn every_key_can_be_pressed_and_is_documented() {
        let documented = documentation();
        for binding in BINDINGS {
            assert!(!binding.what.is_empty() && !binding.label.is_empty());
            for key in binding.keys {
                assert!(documented.contains(&format!("`{key}`")), "{key}");
            }
        }
    }
}
