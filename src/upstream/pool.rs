//! The connections that are open: a stack of idle h1 ones, or one h2 connection that all share.
//!
//! A connection is not used beyond [`CONNECTION_AGE_MAX`], so that a change in DNS is followed within that time.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::upstream::{
    connect::{Connector, Failure, Sender},
    origin::Protocol,
};

/// How long a connection is used. Segment asks to resolve its names again at least daily and on 5xx (protocol.md 1.1).
const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);
/// Below the idle timeouts of load balancers (60 s is usual), so that it is we who close.
const IDLE_MAX: Duration = Duration::from_secs(50);
/// How long a connection may take to get ready for its next request after an answer.
const READY_WAIT_MAX: Duration = Duration::from_secs(1);

/// The connections to one origin.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    idle_max: usize,
    next_id: AtomicU64,
    state: Mutex<State>,
    /// Held while the first connection, or an h2 one, is made: the others wait for it rather than make their own.
    joining: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest used last.
    idle: Vec<Idle>,
    shared: Option<Lease>,
    /// What the upstream spoke last; None before the first connection.
    speaks: Option<Protocol>,
    /// Connections with a lower id are not used again.
    retired_below: u64,
}

#[derive(Debug)]
struct Idle {
    lease: Lease,
    since: Instant,
}

/// A connection to send one request on.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) sender: Sender,
    /// Whether it has carried a request before, so that the peer may be about to close it.
    pub(super) history: History,
    id: u64,
    made_at: Instant,
}

/// What a connection has carried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    Fresh,
    Used,
}

/// Which connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    Fresh,
}

impl Pool {
    pub(super) fn new(connector: Connector, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { connector, idle_max, next_id: AtomicU64::new(0), state: Mutex::default(), joining: tokio::sync::Mutex::default() })
    }

    /// A connection that is open as far as is known here.
    pub(super) async fn take(&self, wanted: Wanted) -> Result<Lease, Failure> {
        if wanted == Wanted::Any
            && let Some(lease) = self.state().ready()
        {
            return Ok(lease);
        }
        if self.speaks() == Some(Protocol::H1) {
            return self.connect().await;
        }
        let joining = self.joining.lock().await;
        if wanted == Wanted::Any
            && let Some(lease) = self.state().ready()
        {
            return Ok(lease);
        }
        if self.speaks() == Some(Protocol::H1) {
            drop(joining);
        }
        self.connect().await
    }

    /// Takes a connection back after an answer that was read to its end.
    pub(super) fn put_back(self: &Arc<Self>, mut lease: Lease) {
        lease.history = History::Used;
        match &lease.sender {
            Sender::H2(_) => {}
            Sender::H1(sender) if sender.is_closed() => {}
            Sender::H1(sender) if sender.is_ready() => self.state().keep(lease, self.idle_max),
            Sender::H1(_) => {
                let pool = Arc::clone(self);
                tokio::spawn(async move {
                    if let Sender::H1(sender) = &mut lease.sender
                        && let Ok(Ok(())) = timeout(READY_WAIT_MAX, sender.ready()).await
                    {
                        pool.state().keep(lease, pool.idle_max);
                    }
                });
            }
        }
    }

    /// Sees to it that a shared connection which has gone silent gets no further requests.
    pub(super) fn distrust(&self, id: u64) {
        let mut state = self.state();
        if state.shared.as_ref().is_some_and(|shared| shared.id == id) {
            state.shared = None;
        }
    }

    /// Lets go of every connection made before now.
    pub(super) fn refresh(&self) {
        let mut state = self.state();
        state.retired_below = self.next_id.load(Ordering::Relaxed);
        state.idle.clear();
        state.shared = None;
    }

    async fn connect(&self) -> Result<Lease, Failure> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let sender = self.connector.connect().await?;
        let lease = Lease { sender, history: History::Fresh, id, made_at: Instant::now() };
        let mut state = self.state();
        state.speaks = Some(lease.protocol());
        state.shared = lease.share();
        Ok(lease)
    }

    fn speaks(&self) -> Option<Protocol> {
        self.state().speaks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ready(&mut self) -> Option<Lease> {
        if let Some(shared) = &self.shared {
            if shared.is_usable(self.retired_below) {
                return shared.share();
            }
            self.shared = None;
        }
        while let Some(Idle { lease, since }) = self.idle.pop() {
            if since.elapsed() < IDLE_MAX && lease.is_usable(self.retired_below) {
                return Some(lease);
            }
        }
        None
    }

    fn keep(&mut self, lease: Lease, idle_max: usize) {
        let retired_below = self.retired_below;
        self.idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && idle.lease.is_usable(retired_below));
        if self.idle.len() < idle_max && lease.is_usable(retired_below) {
            self.idle.push(Idle { lease, since: Instant::now() });
        }
    }
}

impl Lease {
    pub(super) fn protocol(&self) -> Protocol {
        match self.sender {
            Sender::H1(_) => Protocol::H1,
            Sender::H2(_) => Protocol::H2,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn is_usable(&self, retired_below: u64) -> bool {
        let open = match &self.sender {
            Sender::H1(sender) => sender.is_ready(),
            Sender::H2(sender) => !sender.is_closed(),
        };
        open && self.id >= retired_below && self.made_at.elapsed() < CONNECTION_AGE_MAX
    }

    /// Another lease of the same connection, when it can carry more than one request.
    fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) => None,
            Sender::H2(sender) => {
                Some(Self { sender: Sender::H2(sender.clone()), history: History::Used, id: self.id, made_at: self.made_at })
            }
        }
    }
}
