//! A program in a real terminal: a pty, what it wrote as a screen, keys.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

use std::{
    io::{Read, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use vt100::Parser;

/// How long a story waits for a screen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program and its terminal. Dropping it kills the program.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<Parser>>,
    written: Arc<AtomicU64>,
}

impl Terminal {
    /// Runs the binary under test with these arguments.
    pub fn segue(arguments: &[&str], columns: u16, rows: u16) -> Self {
        let binary = std::env::var_os("SEGUE_TEST_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_segue")), Into::into);
        let mut command = CommandBuilder::new(binary);
        command.args(arguments);
        Self::run(command, columns, rows)
    }

    /// Runs a command, in a terminal that can do what most can.
    pub fn run(mut command: CommandBuilder, columns: u16, rows: u16) -> Self {
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        command.env_remove("NO_COLOR");
        command.env_remove("TMUX");
        let pair = native_pty_system().openpty(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let screen = Arc::new(Mutex::new(Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 200)));
        let written = Arc::new(AtomicU64::new(0));
        let (seen, count) = (Arc::clone(&screen), Arc::clone(&written));
        thread::spawn(move || {
            let mut bytes = [0; 8_192];
            while let Ok(read) = reader.read(&mut bytes) {
                if read == 0 {
                    break;
                }
                seen.lock().unwrap().process(&bytes[..read]);
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Self { child, master: pair.master, keys, screen, written }
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Bytes that it has written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    /// Presses keys, one by one as a hand does.
    pub fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.keys.write_all(key.to_string().as_bytes()).unwrap();
            self.keys.flush().unwrap();
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Writes bytes at once, as a paste or a key with a longer sequence comes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.keys.write_all(bytes).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen has all these texts.
    pub fn until(&self, texts: &[&str]) -> String {
        self.until_so(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contains(text)))
    }

    /// Waits until the screen is as it should be.
    pub fn until_so(&self, what: &str, so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.text();
            if so(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what} on the screen:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the window another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Waits until the program has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the terminal is as it was before: the usual screen, a cursor, pastes as they come.
    pub fn is_given_back(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let parser = self.screen.lock().unwrap();
            let screen = parser.screen();
            let still = (screen.alternate_screen(), screen.hide_cursor(), screen.bracketed_paste());
            drop(parser);
            if still == (false, false, false) {
                return;
            }
            assert!(Instant::now() < deadline, "(alternate screen, hidden cursor, bracketed paste) are {still:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
