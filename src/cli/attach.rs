//! Speaking to the running sidecar, and telling why that did not work.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};

use super::{Exit, command::Manner, inert::inert_json, talk::Talk};
use crate::{
    client::{Client, ClientError},
    config::{self, Environment},
    model::inert,
    wire::ProblemCode,
};

/// How long one request may take: a change waits for the disk, and a hold for what is in flight.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The way to the running sidecar.
#[derive(Debug)]
pub struct Attached {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

/// What came of a request: an answer, or how the command ends.
pub type Asked<T> = Result<T, Exit>;

impl Attached {
    /// The sidecar that the user named, else that of the configuration. The error is how the command ends; it is told already.
    pub fn find(manner: &Manner, talk: &Talk) -> anyhow::Result<Asked<Self>> {
        let socket = match socket(manner, talk) {
            Ok(socket) => socket,
            Err(exit) => return Ok(Err(exit)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
        Ok(Ok(Self { client: Client::new(&socket, TIMEOUT), runtime }))
    }

    /// Asks for something.
    pub fn get<T: DeserializeOwned>(&self, path: &str, talk: &Talk) -> Asked<T> {
        self.runtime.block_on(self.client.get(path)).map_err(|error| told(&error, talk))
    }

    /// Asks for something, and tells nothing.
    pub fn look<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.get(path))
    }

    /// Asks for a change or a plan, and tells nothing.
    pub fn try_post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.post(path, body))
    }

    /// Asks for a change.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, talk: &Talk) -> Asked<T> {
        self.runtime.block_on(self.client.post(path, body)).map_err(|error| told(&error, talk))
    }
}

/// The socket that the user named, else that of the configuration. The error is how the command ends; it is told already.
pub fn socket(manner: &Manner, talk: &Talk) -> Asked<PathBuf> {
    match manner.attach() {
        Some(path) => Ok(named(path)),
        None => configured(manner, talk),
    }
}

/// `unix:/path` is a way to write a path.
fn named(path: &std::path::Path) -> PathBuf {
    path.to_str().and_then(|text| text.strip_prefix("unix:")).map_or_else(|| path.to_owned(), PathBuf::from)
}

fn configured(manner: &Manner, talk: &Talk) -> Asked<PathBuf> {
    let loaded = config::load(manner.config(), &Environment::of_process(), &[]).map_err(|problems| {
        talk.problems(&problems);
        talk.note("Or name the running sidecar's socket: --attach PATH");
        Exit::Config
    })?;
    loaded.config.admin_socket().ok_or_else(|| {
        talk.error(&anyhow::anyhow!(
            "the configuration has [admin] socket = \"off\", so no sidecar listens to commands\n  Nothing was changed."
        ));
        Exit::Unreachable
    })
}

/// Tells why there is no answer, and how the command ends.
fn told(error: &ClientError, talk: &Talk) -> Exit {
    let unreachable = "The sidecar, if one runs, goes on as it did; nothing was changed.";
    let (means, exit) = match error {
        ClientError::NoSocket(_) => (
            format!("{unreachable}\n  Is `segue run` running, with the same configuration? Another socket: --attach PATH"),
            Exit::Unreachable,
        ),
        ClientError::NotRunning(_) => (
            "A sidecar left the socket behind and is gone; what it had journalled is on disk.\n  Start it: segue run".to_owned(),
            Exit::Unreachable,
        ),
        ClientError::Denied { .. } => (format!("{unreachable}\n  Run this as the sidecar's user, for example with sudo -u."), Exit::Denied),
        ClientError::TimedOut(_) => ("A change may have been made: look at how things stand.".to_owned(), Exit::TimedOut),
        ClientError::Broken(_) | ClientError::Garbage(_) => (
            "A change may have been made: look at how things stand.\n  Is the sidecar of the same version? segue version".to_owned(),
            Exit::Failed,
        ),
        ClientError::Problem(problem) => (
            format!("{}\n  {}", inert(&problem.means), inert(&problem.fix)),
            match problem.code {
                ProblemCode::NotFound | ProblemCode::BadRequest | ProblemCode::NotAllowed => Exit::Usage,
                ProblemCode::Denied => Exit::Denied,
                ProblemCode::Conflict => Exit::Conflict,
                ProblemCode::Refused => Exit::Refused,
                ProblemCode::Config => Exit::Config,
                ProblemCode::TimedOut => Exit::TimedOut,
                ProblemCode::Stopping | ProblemCode::Busy => Exit::Unreachable,
                ProblemCode::NoEntry | ProblemCode::TooLarge | ProblemCode::Disk | ProblemCode::Other => Exit::Failed,
            },
        ),
    };
    let what = match error {
        ClientError::Problem(problem) => inert(&problem.what).into_owned(),
        error => inert(&error.to_string()).into_owned(),
    };
    talk.error(&anyhow::anyhow!("{what}\n  {means}"));
    exit
}

/// Asks the user on the terminal; without one nothing is done without `--yes`. Some: how the command ends.
pub fn unconfirmed(question: &str, yes: bool, talk: &Talk) -> anyhow::Result<Option<Exit>> {
    if yes {
        return Ok(None);
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        talk.error(&anyhow::anyhow!("{question} Nobody can answer here.\n  Nothing was changed.\n  Say it with --yes, or only look with --dry-run where there is one."));
        return Ok(Some(Exit::Usage));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(None);
    }
    talk.note("Nothing was changed.");
    Ok(Some(Exit::No))
}

/// The same of what takes events from Segment: the source's name has to be typed.
pub fn unconfirmed_by_name(question: &str, name: &str, yes: bool, talk: &Talk) -> anyhow::Result<Option<Exit>> {
    if yes || !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return unconfirmed(question, yes, talk);
    }
    eprint!("{question} Type {} to go on: ", inert(name));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == name {
        return Ok(None);
    }
    talk.note("Nothing was changed.");
    Ok(Some(Exit::No))
}

/// Prints an answer as JSON that a terminal can show.
pub fn json(talk: &Talk, value: &impl Serialize) -> anyhow::Result<()> {
    Ok(talk.result(&inert_json(&serde_json::to_string(value)?))?)
}
