//! The line to the sidecar: its live stream, taken up again for ever, and what the screens ask for besides.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::question::{Question, Verb};
use crate::{
    chance,
    client::{Client, ClientError, ServerEvent},
    policy::Backoff,
    wire::{Figures, Lost, Problem, ProblemCode, RouteEvent, Snapshot, Tap},
};

/// How long an answer may take: a change waits for the disk, a plan for the journal.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The first and the longest pause before the line is taken up again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Messages that wait for the screen.
const QUEUE_MAX: usize = 256;

/// What the screen hears.
#[derive(Debug)]
pub(super) enum Message {
    /// The sidecar is asked whether it is there.
    Trying {
        /// Which attempt in a row.
        attempt: u32,
    },
    /// Everything, as it stands.
    Snapshot(Box<Snapshot>),
    /// What changed.
    Figures(Box<Figures>),
    /// Somebody changed something.
    Change(Box<RouteEvent>),
    /// Events passed.
    Tap(Box<Tap>),
    /// The sidecar cannot tell of events as they pass.
    NoTap(Refusal),
    /// The screen was too slow; everything comes again.
    Missed(u64),
    /// The line is gone.
    Lost {
        /// Why.
        why: String,
        /// When it is taken up again.
        pause: Duration,
    },
    /// An answer.
    Answer(Question, Result<Value, Refusal>),
}

/// Why something was not answered or not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What happened.
    pub(super) what: String,
    /// What it means and what to do; empty: nothing more is known.
    pub(super) fix: String,
}

/// The line to one sidecar.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    client: Client,
    messages: mpsc::Sender<Message>,
    /// What is wanted of the stream; another value opens it anew.
    wanted: watch::Sender<Wanted>,
}

/// What is wanted of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Whether events are wanted as they pass.
    pub(super) tap: bool,
    /// Goes up when the line is to be taken up at once.
    pub(super) now: u64,
}

impl Feed {
    /// Takes up the line, and keeps it up until the receiver is dropped.
    pub(super) fn start(socket: &Path) -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(QUEUE_MAX);
        let (wanted, wants) = watch::channel(Wanted::default());
        let feed = Self { client: Client::new(socket, ANSWER_MAX), messages, wanted };
        tokio::spawn(keep_up(feed.client.clone(), feed.messages.clone(), wants));
        (feed, receiver)
    }

    /// Asks, and hears the answer as a message.
    pub(super) fn ask(&self, question: Question) {
        let (client, messages) = (self.client.clone(), self.messages.clone());
        tokio::spawn(async move {
            let request = question.request();
            let answered = match request.verb {
                Verb::Get => client.get::<Value>(&request.path).await,
                Verb::Post(body) => client.post::<Value>(&request.path, &body).await,
            };
            // Nobody may be left to hear it.
            let _ = messages.send(Message::Answer(question, answered.map_err(|error| refusal(&error)))).await;
        });
    }

    /// Wants events as they pass, or no longer.
    pub(super) fn want_tap(&self, tap: bool) {
        self.wanted.send_if_modified(|wanted| std::mem::replace(&mut wanted.tap, tap) != tap);
    }

    /// Takes the line up now, whatever pause there is.
    pub(super) fn reconnect(&self) {
        self.wanted.send_modify(|wanted| wanted.now += 1);
    }
}

async fn keep_up(client: Client, messages: mpsc::Sender<Message>, mut wants: watch::Receiver<Wanted>) {
    let backoff = Backoff::new(PAUSE.0, PAUSE.1);
    let mut failures = 0;
    let mut can_tap = true;
    loop {
        let tap = wants.borrow_and_update().tap && can_tap;
        if messages.send(Message::Trying { attempt: failures + 1 }).await.is_err() {
            return;
        }
        let topics = if tap { "figures,changes,tap" } else { "figures,changes" };
        let mut heard = false;
        let ended = tokio::select! {
            ended = listen(&client, topics, &messages, &mut heard) => Some(ended),
            _ = wants.changed() => None,
        };
        let Some(error) = ended else { continue };
        if messages.is_closed() {
            return;
        }
        if tap && !heard && is_misunderstood(&error) {
            // It is older than this dashboard: everything else is shown all the same.
            can_tap = false;
            if messages.send(Message::NoTap(refusal(&error))).await.is_err() {
                return;
            }
            continue;
        }
        failures = if heard { 1 } else { failures + 1 };
        // In the upper half: a sidecar that starts is not asked twice in a moment, and not by all viewers at once.
        let pause = backoff.wait_half(failures, chance::number());
        if messages.send(Message::Lost { why: refusal(&error).what, pause }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = wants.changed() => {}
        }
    }
}

/// Hands on what comes, until the line is gone.
async fn listen(client: &Client, topics: &str, messages: &mpsc::Sender<Message>, heard: &mut bool) -> ClientError {
    let mut stream = match client.stream(&format!("/v1/stream?topics={topics}")).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    loop {
        let message = match stream.next().await.and_then(|event| understood(&event)) {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(error) => return error,
        };
        *heard = true;
        // A screen that takes nothing is stuck; the stream is not read meanwhile, and the sidecar counts what it loses.
        if timeout(ANSWER_MAX, messages.send(message)).await.is_err() {
            return ClientError::TimedOut(ANSWER_MAX);
        }
    }
}

/// None: an event of a newer sidecar.
fn understood(event: &ServerEvent) -> Result<Option<Message>, ClientError> {
    let garbage = |error: serde_json::Error| ClientError::Garbage(format!("{}: {error}", event.name));
    let data = event.data.as_str();
    Ok(Some(match event.name.as_str() {
        "snapshot" => Message::Snapshot(serde_json::from_str::<Box<Snapshot>>(data).map_err(garbage)?),
        "figures" => Message::Figures(serde_json::from_str::<Box<Figures>>(data).map_err(garbage)?),
        "change" => Message::Change(serde_json::from_str::<Box<RouteEvent>>(data).map_err(garbage)?),
        "tap" => Message::Tap(serde_json::from_str::<Box<Tap>>(data).map_err(garbage)?),
        "lost" => Message::Missed(serde_json::from_str::<Lost>(data).map_err(garbage)?.events),
        _ => return Ok(None),
    }))
}

fn is_misunderstood(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem(problem) if problem.code == ProblemCode::BadRequest)
}

fn refusal(error: &ClientError) -> Refusal {
    match error {
        ClientError::Problem(problem) => {
            let Problem { what, means, fix, .. } = problem.as_ref();
            Refusal { what: what.clone(), fix: format!("{means} {fix}") }
        }
        other => Refusal { what: other.to_string(), fix: String::new() },
    }
}
