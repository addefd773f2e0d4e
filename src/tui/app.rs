//! The dashboard's state, and what keys and news do to it. It does nothing by itself: what has to be done is said as effects.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tui_input::Input;

use super::{
    data::{Data, Link},
    dialog::Dialog,
    feed::Message,
    keys::{Place, Screen},
    look::Look,
    question::Question,
    screen::{self, Pane},
    table::{Sight, Table},
};
use crate::{model::WallTime, wire::Status};

/// How long changes stay allowed once they are armed.
const ARMED: Duration = Duration::from_mins(15);
/// How often lists that nothing announces are asked for again, while they are looked at.
const LISTS_EVERY: Duration = Duration::from_secs(2);
/// The same of what takes a look at the journal.
const LOOKS_EVERY: Duration = Duration::from_secs(15);

/// What has to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    Ask(Question),
    /// Want events as they pass, or no longer.
    Tap(bool),
    Reconnect,
    /// Put it into the clipboard.
    Copy(String),
    Suspend,
    Redraw,
    Quit,
}

/// When the screen has to be drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Draw {
    Not,
    /// With the next second: figures are read, not watched.
    Soon,
    /// Within a tenth of a second: events as they pass.
    Flowing,
    /// At once: somebody pressed a key.
    Now,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Page {
    Screen(Screen),
    Source(String),
    Event { message_id: String, source: String },
    Entry(u64),
}

impl Page {
    pub(super) const fn place(&self) -> Place {
        match self {
            Self::Screen(screen) => Place::On(*screen),
            Self::Source(_) => Place::Source,
            Self::Event { .. } => Place::Event,
            Self::Entry(_) => Place::Entry,
        }
    }
}

/// A line that is typed below the screen.
#[derive(Debug, Clone)]
pub(super) enum Prompt {
    Filter(Input),
    Command { input: Input, past: usize },
}

/// What is said in the message line, until a key is pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toast {
    pub(super) text: String,
    pub(super) is_trouble: bool,
}

/// The keys that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Help {
    /// Those of all screens, not only of this one.
    pub(super) all: bool,
    pub(super) scroll: usize,
}

/// The state.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, which a key turns")]
pub(super) struct App {
    pub(super) look: Look,
    /// What the sidecar is called in the header.
    pub(super) name: String,
    live: Data,
    frozen: Option<Box<Data>>,
    /// Since it started, by its own clock.
    pub(super) now: Duration,
    pub(super) pages: Vec<Page>,
    pub(super) last: Screen,
    sights: HashMap<Pane, Sight>,
    panes: HashMap<Screen, usize>,
    pub(super) marks: BTreeSet<String>,
    pub(super) dialog: Option<Dialog>,
    pub(super) dialogs: u64,
    pub(super) prompt: Option<Prompt>,
    pub(super) commands: Vec<String>,
    pub(super) toast: Option<Toast>,
    pub(super) first_key: Option<String>,
    pub(super) help: Option<Help>,
    armed_until: Option<Duration>,
    pub(super) zoomed: bool,
    /// The newest event of the tap that is shown: whoever reads is not carried away. None: it follows.
    pub(super) tap_until: Option<u64>,
    pub(super) noise: bool,
    pub(super) unified: bool,
    pub(super) revealed: bool,
    /// How far a document is scrolled.
    pub(super) scroll: usize,
    pub(super) window: usize,
    /// When what was asked last.
    asked: HashMap<&'static str, Duration>,
    taps: bool,
    draw: Draw,
}

/// Whether the sidecar started less than three minutes ago.
fn is_young(status: &Status) -> bool {
    let times = WallTime::parse(&status.at).zip(WallTime::parse(&status.started_at));
    times.is_some_and(|(now, started)| now.millis_since(started) < 180_000)
}

/// The windows of graphs.
pub(super) const WINDOWS: [&str; 5] = ["1m", "10m", "1h", "6h", "24h"];

impl App {
    pub(super) fn new(look: Look, name: String, now: Duration) -> Self {
        Self {
            look,
            name,
            live: Data::default(),
            frozen: None,
            now,
            pages: vec![Page::Screen(Screen::Overview)],
            last: Screen::Overview,
            sights: HashMap::new(),
            panes: HashMap::new(),
            marks: BTreeSet::new(),
            dialog: None,
            dialogs: 0,
            prompt: None,
            commands: Vec::new(),
            toast: None,
            first_key: None,
            help: None,
            armed_until: None,
            zoomed: false,
            tap_until: None,
            noise: false,
            unified: false,
            revealed: false,
            scroll: 0,
            window: 1,
            asked: HashMap::new(),
            taps: false,
            draw: Draw::Now,
        }
    }

    /// What is shown: as it stands, or as it stood when it was frozen.
    pub(super) fn data(&self) -> &Data {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// What the sidecar says, frozen or not: changes rest on it.
    pub(super) const fn live(&self) -> &Data {
        &self.live
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn page(&self) -> &Page {
        self.pages.last().unwrap_or(&Page::Screen(Screen::Overview))
    }

    pub(super) fn screen(&self) -> Screen {
        let screen = |page: &Page| if let Page::Screen(screen) = page { Some(*screen) } else { None };
        self.pages.iter().rev().find_map(screen).unwrap_or_default()
    }

    /// When it has to be drawn again; asking takes the need away.
    pub(super) const fn take_draw(&mut self) -> Draw {
        std::mem::replace(&mut self.draw, Draw::Not)
    }

    /// Whether it has to be drawn again.
    pub(super) const fn wants_draw(&self) -> Draw {
        self.draw
    }

    pub(super) fn needs(&mut self, draw: Draw) {
        self.draw = self.draw.max(draw);
    }

    /// Takes in what was heard.
    pub(super) fn hear(&mut self, message: Message, now: Duration) -> Vec<Effect> {
        self.now = now;
        let draw = match &message {
            Message::Figures(_) | Message::Tap(_) if self.is_frozen() => Draw::Not,
            Message::Figures(_) => Draw::Soon,
            Message::Tap(_) => Draw::Flowing,
            _ => Draw::Now,
        };
        self.needs(draw);
        let mut effects = Vec::new();
        if let Message::Snapshot(snapshot) = &message {
            self.asked.clear();
            // What has just started has no ten minutes to show.
            if self.live.status.is_none() && is_young(&snapshot.status) {
                self.window = 0;
            }
        }
        if let Message::Answer(question, answer) = &message {
            effects.extend(self.dialog_answered(question, answer));
        }
        let questions = self.live.hear(message, now);
        self.settle();
        effects.extend(questions.into_iter().map(Effect::Ask));
        effects.extend(self.look_after());
        effects
    }

    /// What is selected stays selected, wherever its row goes: so does the first row that is seen.
    fn settle(&mut self) {
        let Some(pane) = self.pane().filter(|pane| !matches!(pane, Pane::Tap | Pane::History)) else { return };
        if self.sight(pane).selected.is_none() {
            let first = self.table(pane).rows.first().map(|row| row.key.clone());
            self.sight_mut(pane).selected = first;
        }
    }

    /// Goes with the time: asks again what nobody announces, and lets go of what is over.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Effect> {
        self.now = now;
        if self.armed_until.is_some_and(|until| now >= until) {
            self.armed_until = None;
            self.say("changes are no longer armed: W arms them again");
        }
        if matches!(self.live.link, Link::Lost { .. }) || self.armed_until.is_some() && now.as_secs().is_multiple_of(60) {
            self.needs(Draw::Soon);
        }
        self.look_after()
    }

    /// What the page needs: asked for when it was not, or long ago.
    fn look_after(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let taps = matches!(self.page(), Page::Screen(Screen::Tap)) && !self.is_frozen();
        if taps != self.taps {
            self.taps = taps;
            effects.push(Effect::Tap(taps));
        }
        if !self.live.is_live() || self.is_frozen() {
            return effects;
        }
        for (question, every) in self.questions() {
            let name = question.name();
            if self.asked.get(name).is_none_or(|asked| self.now.saturating_sub(*asked) >= every) {
                self.asked.insert(name, self.now);
                effects.push(Effect::Ask(question));
            }
        }
        effects
    }

    fn questions(&self) -> Vec<(Question, Duration)> {
        let step = self.live.series.as_ref().map_or(1, |(_, series)| series.step_seconds.max(1));
        let series = |source: Option<String>| (Question::Series { window: WINDOWS[self.window], source }, Duration::from_secs(step));
        match self.page() {
            Page::Screen(Screen::Overview) => vec![series(None), (Question::Evidence, LISTS_EVERY)],
            Page::Screen(Screen::Destinations) => vec![series(None)],
            Page::Screen(Screen::Diffs) => {
                vec![(Question::Findings, LISTS_EVERY), (Question::Evidence, LISTS_EVERY), (Question::Diffs, LOOKS_EVERY)]
            }
            Page::Screen(Screen::Versions) => vec![(Question::Versions, LOOKS_EVERY)],
            Page::Screen(Screen::Journal) => vec![(Question::Replays, LISTS_EVERY), (Question::Quarantine, LISTS_EVERY)],
            Page::Source(source) => {
                vec![series(Some(source.clone())), (Question::Versions, LOOKS_EVERY), (Question::Evidence, LISTS_EVERY)]
            }
            Page::Event { message_id, source } => {
                let (message_id, source) = (message_id.clone(), Some(source.clone()));
                vec![(Question::Event { message_id, source, reveal: self.revealed }, Duration::MAX)]
            }
            Page::Entry(id) => vec![(Question::Entry(*id), Duration::MAX)],
            Page::Screen(Screen::Sources) => vec![(Question::Evidence, LISTS_EVERY)],
            Page::Screen(Screen::Tap | Screen::Audit) => Vec::new(),
        }
    }

    /// Has a question asked again at once.
    pub(super) fn ask_again(&mut self, name: &'static str) {
        self.asked.remove(name);
    }

    /// Goes to a page; esc comes back.
    pub(super) fn go(&mut self, page: Page) {
        if let Page::Screen(screen) = page {
            self.last = self.screen();
            self.pages = vec![Page::Screen(screen)];
        } else if *self.page() != page {
            self.pages.push(page);
        }
        self.turned();
    }

    /// Comes back to the page before; a screen has none.
    pub(super) fn leave(&mut self) {
        if self.pages.len() > 1 {
            self.pages.pop();
            self.turned();
        }
    }

    fn turned(&mut self) {
        (self.scroll, self.zoomed, self.revealed) = (0, false, false);
        self.live.event = None;
        self.live.entry = None;
        // Another window or source is another series.
        for name in ["series", "event", "entry"] {
            self.ask_again(name);
        }
        self.needs(Draw::Now);
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some(Box::new(self.live.clone())),
        };
    }

    /// The pane that keys act on; None: the page has no table.
    pub(super) fn pane(&self) -> Option<Pane> {
        let panes = screen::panes(self.page());
        let place = self.panes.get(&self.screen()).copied().unwrap_or(0);
        panes.get(place.min(panes.len().saturating_sub(1))).copied()
    }

    pub(super) fn turn_pane(&mut self, forward: bool) {
        let panes = screen::panes(self.page()).len();
        if panes > 1 {
            let place = self.panes.entry(self.screen()).or_default();
            *place = if forward { (*place + 1) % panes } else { (*place + panes - 1) % panes };
        }
    }

    pub(super) fn sight(&self, pane: Pane) -> Sight {
        self.sights.get(&pane).cloned().unwrap_or_default()
    }

    pub(super) fn sight_mut(&mut self, pane: Pane) -> &mut Sight {
        self.sights.entry(pane).or_default()
    }

    /// The table of a pane, as it is seen.
    pub(super) fn table(&self, pane: Pane) -> Table {
        screen::table(self, pane).seen(&self.sight(pane))
    }

    /// The key of the selected row of the pane that keys act on.
    pub(super) fn selected(&self) -> Option<(Pane, String)> {
        let pane = self.pane()?;
        self.table(pane).selected(&self.sight(pane)).map(|key| (pane, key.to_owned()))
    }

    /// The source that is looked at: the page's, or the selected row's.
    pub(super) fn source(&self) -> Option<String> {
        match self.page() {
            Page::Source(source) => Some(source.clone()),
            _ => self.selected().filter(|(pane, _)| *pane == Pane::Sources).map(|(_, key)| key),
        }
    }

    /// How long changes are armed for yet; None: they are not.
    pub(super) fn armed(&self) -> Option<Duration> {
        self.armed_until.map(|until| until.saturating_sub(self.now))
    }

    pub(super) fn arm(&mut self, on: bool) {
        self.armed_until = on.then(|| self.now + ARMED);
    }

    /// Why nothing may be changed; None: it may.
    pub(super) fn disarmed(&self) -> Option<&'static str> {
        if !self.live.is_live() {
            return Some("not connected: nothing can be changed");
        }
        if !self.live.may("operate") {
            return Some("your user may look, not operate ([admin] operate names the group)");
        }
        if self.armed_until.is_none() {
            return Some("view mode: W arms changes for 15 minutes");
        }
        None
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.toast = Some(Toast { text: text.into(), is_trouble: false });
        self.needs(Draw::Now);
    }

    pub(super) fn complain(&mut self, text: impl Into<String>) {
        self.toast = Some(Toast { text: text.into(), is_trouble: true });
        self.needs(Draw::Now);
    }
}
