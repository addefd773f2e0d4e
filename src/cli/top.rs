//! `segue top`: the dashboard.

use anyhow::Context;
use jiff::tz::TimeZone;

use super::{
    Exit, attach,
    command::Manner,
    talk::Talk,
    top_flags::{Theme, TopFlags},
};
use crate::tui::{self, Look, Palette, Signs, TopError};

/// Shows the running sidecar until the user quits.
pub fn top(manner: &Manner, flags: TopFlags, talk: &Talk) -> anyhow::Result<Exit> {
    let socket = match attach::socket(manner, talk) {
        Ok(socket) => socket,
        Err(exit) => return Ok(exit),
    };
    let options =
        tui::Options { name: host(), look: look(flags.ascii, flags.theme, talk), operate: flags.operate, screen: flags.screen, socket };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    let shown = runtime.block_on(tui::run(options));
    runtime.shutdown_background();
    Ok(match shown {
        Ok(()) => Exit::Done,
        Err(error @ (TopError::NoTerminal | TopError::NoScreen(..))) => {
            talk.error(&error.into());
            Exit::Usage
        }
        Err(error) => return Err(error.into()),
    })
}

/// How the flags and the environment want it to look.
pub fn look(ascii: bool, theme: Theme, talk: &Talk) -> Look {
    let is_light = || {
        // `foreground;background`, as many terminals say: 7 and 15 are white.
        let told = std::env::var("COLORFGBG").unwrap_or_default();
        matches!(told.rsplit(';').next(), Some("7" | "15"))
    };
    let palette = match theme {
        Theme::Mono => Palette::Mono,
        _ if !talk.is_painted() => Palette::Mono,
        Theme::Dark => Palette::Dark,
        Theme::Light => Palette::Light,
        Theme::Auto if is_light() => Palette::Light,
        Theme::Auto => Palette::Terminal,
    };
    let signs = if ascii || !is_utf8() { Signs::Ascii } else { Signs::Unicode };
    Look { palette, signs, zone: TimeZone::system() }
}

/// Whether the locale is UTF-8: the first that is set of the three variables counts.
fn is_utf8() -> bool {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(set).and_then(|name| std::env::var(name).ok());
    named.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The machine's name: what a sidecar is called that has no other.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
