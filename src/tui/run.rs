//! The loop: keys and news in, one screen out, drawn only when something changed.

use std::{io, path::PathBuf, time::Duration};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    app::{App, Draw, Effect, Page},
    feed::{Feed, Message},
    keys::Screen as Number,
    look::Look,
    screen,
    terminal::{self, Screen},
};

/// How often time itself is looked at.
const TICK: Duration = Duration::from_secs(1);
/// No two screens are drawn closer to each other.
const FRAME: Duration = Duration::from_millis(16);

/// What a dashboard is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sidecar's socket.
    pub socket: PathBuf,
    /// What the sidecar is called in the header.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// Whether changes are armed from the start.
    pub operate: bool,
    /// The first screen by its name, like `journal`; None: the overview.
    pub screen: Option<String>,
}

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Nobody could see it.
    #[error("segue top needs a terminal\n  Nothing was changed.\n  Without one: segue status --watch --json")]
    NoTerminal,
    /// The screen is none.
    #[error("there is no screen {0:?}\n  Screens: {1}")]
    NoScreen(String, String),
    /// The terminal went away, or a fault took it.
    #[error("the dashboard ended: {0}")]
    Io(#[from] io::Error),
}

/// Shows a sidecar until the user quits.
///
/// # Errors
/// When there is no terminal, or it went away.
pub async fn run(options: Options) -> Result<(), TopError> {
    let first = options.screen.as_deref().map(number).transpose()?;
    if !terminal::is_there() {
        return Err(TopError::NoTerminal);
    }
    let started = Instant::now();
    let mut app = App::new(options.look, options.name, Duration::ZERO);
    if let Some(number) = first {
        app.go(Page::Screen(number));
    }
    app.arm(options.operate);
    let (feed, messages) = Feed::start(&options.socket);
    let mut screen = Screen::take()?;
    let shown = show(&mut app, &mut screen, &feed, messages, started).await;
    drop(screen);
    Ok(shown?)
}

fn number(name: &str) -> Result<Number, TopError> {
    let names: Vec<String> = Number::ALL.iter().map(|screen| screen.names().0.to_lowercase()).collect();
    let found = Number::ALL.into_iter().find(|screen| screen.names().0.to_lowercase().starts_with(&name.to_lowercase()));
    found.filter(|_| !name.is_empty()).ok_or_else(|| TopError::NoScreen(name.to_owned(), names.join(", ")))
}

async fn show(app: &mut App, screen: &mut Screen, feed: &Feed, mut messages: mpsc::Receiver<Message>, started: Instant) -> io::Result<()> {
    let mut terminal = EventStream::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    let mut drawn = Instant::now().checked_sub(TICK).unwrap_or_else(Instant::now);
    loop {
        if terminal::is_lost() {
            return Err(io::Error::other("a fault of segue ended the dashboard"));
        }
        let due = due(app.wants_draw(), drawn);
        if due.is_some_and(|due| due <= Instant::now()) {
            app.take_draw();
            screen.draw(|frame| screen::draw(app, frame))?;
            drawn = Instant::now();
            continue;
        }
        let effects = tokio::select! {
            event = terminal.next() => match event {
                Some(Ok(event)) => input(app, event, started.elapsed()),
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some(message) = messages.recv() => app.hear(message, started.elapsed()),
            _ = ticks.tick() => app.tick(started.elapsed()),
            () = wait(due) => continue,
            _ = hangup.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        for effect in effects {
            match effect {
                Effect::Ask(question) => feed.ask(question),
                Effect::Tap(wanted) => feed.want_tap(wanted),
                Effect::Reconnect => feed.reconnect(),
                Effect::Copy(text) => match screen.copy(&text) {
                    Ok(Some(path)) => app.say(format!("too long for a clipboard: written to {}", path.display())),
                    Ok(None) => {}
                    Err(error) => app.complain(format!("it could not be copied: {error}")),
                },
                Effect::Suspend => {
                    screen.suspend()?;
                    app.needs(Draw::Now);
                }
                Effect::Redraw => {
                    screen.clear()?;
                    app.needs(Draw::Now);
                }
                Effect::Quit => return Ok(()),
            }
        }
    }
}

fn input(app: &mut App, event: Event, now: Duration) -> Vec<Effect> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => app.key(key, now),
        Event::Paste(text) => app.paste(&text, now),
        Event::Resize(..) => {
            app.needs(Draw::Now);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// When the screen is to be drawn; None: it need not be.
fn due(draw: Draw, drawn: Instant) -> Option<Instant> {
    Some(match draw {
        Draw::Not => return None,
        Draw::Soon => drawn + TICK,
        Draw::Flowing => drawn + Duration::from_millis(100),
        Draw::Now => drawn + FRAME,
    })
}

async fn wait(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
