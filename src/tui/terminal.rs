//! The terminal: taken over, and given back as it was, whatever happens.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdout},
    panic,
    path::PathBuf,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use crossterm::{
    cursor::Show,
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{
    Frame, Terminal,
    backend::{Backend, ClearType, CrosstermBackend},
};
use rustix::process::{Signal, getpid, kill_process};

/// Terminals take no longer text into the clipboard.
const CLIPBOARD_BYTES_MAX: usize = 74_994;

/// Whether the terminal is the dashboard's.
static IS_OURS: AtomicBool = AtomicBool::new(false);
/// Whether a panic gave it back.
static FAULT: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours. Dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal over. A panic gives it back before it is told.
    ///
    /// # Errors
    /// When the terminal does not answer.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if IS_OURS.swap(false, Ordering::SeqCst) {
                    give_back();
                    FAULT.store(true, Ordering::SeqCst);
                }
                told(info);
            }));
        });
        enter()?;
        IS_OURS.store(true, Ordering::SeqCst);
        let terminal = Terminal::new(backend());
        let mut screen = terminal.map(|terminal| Self { terminal }).inspect_err(|_| give_back())?;
        // A terminal without a second screen still shows what was there before.
        screen.clear()?;
        Ok(screen)
    }

    /// Draws what changed.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Write::flush(self.terminal.backend_mut())
    }

    /// Has everything drawn anew.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // The library's own way asks the terminal where its cursor is, and not every terminal answers.
        self.terminal.backend_mut().clear_region(ClearType::All)?;
        self.terminal = Terminal::new(backend())?;
        Ok(())
    }

    /// Stops this process as ctrl-z does, with the terminal given back until it goes on.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_process(getpid(), Signal::TSTP)?;
        enter()?;
        self.clear()
    }

    /// Puts the text into the clipboard of whoever sits at the terminal, over ssh and tmux too (OSC 52). A text that is too long for
    /// that is written to a file, whose path comes back.
    ///
    /// # Errors
    /// When neither went.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<Option<PathBuf>> {
        let encoded = STANDARD.encode(text);
        if encoded.len() > CLIPBOARD_BYTES_MAX {
            let path = std::env::temp_dir().join(format!("segue-copy-{}.txt", std::process::id()));
            std::fs::write(&path, text)?;
            return Ok(Some(path));
        }
        let sequence = format!("\x1b]52;c;{encoded}\x07");
        let sequence = if std::env::var_os("TMUX").is_some() { format!("\x1bPtmux;\x1b{sequence}\x1b\\") } else { sequence };
        let writer = self.terminal.backend_mut();
        writer.write_all(sequence.as_bytes())?;
        Write::flush(writer)?;
        Ok(None)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if IS_OURS.swap(false, Ordering::SeqCst) {
            give_back();
        }
    }
}

fn backend() -> CrosstermBackend<BufWriter<Stdout>> {
    CrosstermBackend::new(BufWriter::with_capacity(1 << 16, stdout()))
}

/// Whether a fault has taken the terminal from the dashboard: nothing may be drawn any more.
pub(super) fn is_lost() -> bool {
    FAULT.load(Ordering::SeqCst)
}

/// Whether there is a terminal that can be drawn on.
pub(super) fn is_there() -> bool {
    stdout().is_terminal() && io::stdin().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste).inspect_err(|_| give_back())
}

/// Gives the terminal back. What cannot be done any more is left: nobody could be told.
fn give_back() {
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}
