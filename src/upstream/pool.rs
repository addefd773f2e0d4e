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

use tokio::{task::yield_now, time::Instant};

use crate::upstream::{
    connect::{Connector, Failure},
    lease::{Lease, Readiness},
    origin::Protocol,
};

/// How long a connection is used. Segment asks to resolve its names again at least daily and on 5xx (protocol.md 1.1).
const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);
/// Below the idle timeouts of load balancers (60 s is usual), so that it is we who close.
const IDLE_MAX: Duration = Duration::from_secs(50);
/// A connection in steady use is taken as it is; one that was idle for longer is looked at first.
const UNNOTICED_CLOSE_AFTER: Duration = Duration::from_millis(1);
/// How long a connection may take to get ready for its next request after an answer.
const READY_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often the idle connections are gone through for those that will not be used again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The newest used last. The last of them may still be busy with the end of their answers.
    idle: Vec<Idle>,
    swept_at: Option<Instant>,
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

/// What the pool has at hand.
#[derive(Debug)]
enum Found {
    /// A connection, and how long it has been idle.
    Open(Lease, Duration),
    /// One that is about to get ready.
    Busy,
    Nothing,
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
        if let Some(lease) = self.ready(wanted).await {
            return Ok(lease);
        }
        if self.speaks() == Some(Protocol::H1) {
            return Box::pin(self.connect()).await;
        }
        let joining = self.joining.lock().await;
        if let Some(lease) = self.ready(wanted).await {
            return Ok(lease);
        }
        if self.speaks() == Some(Protocol::H1) {
            drop(joining);
        }
        // Boxed, as it is rare and large: its handshake would make every request's future four times as big.
        Box::pin(self.connect()).await
    }

    async fn ready(&self, wanted: Wanted) -> Option<Lease> {
        if wanted == Wanted::Fresh {
            return None;
        }
        let mut has_waited = false;
        loop {
            let found = self.state().find(Instant::now());
            match found {
                Found::Open(lease, idle_for) if idle_for < UNNOTICED_CLOSE_AFTER => return Some(lease),
                Found::Open(lease, _) => {
                    // Lets the runtime look at its sockets, and so notice a close that has arrived while nobody looked.
                    yield_now().await;
                    if lease.readiness() != Readiness::Closed {
                        return Some(lease);
                    }
                }
                // The end of its answer has been read, so that its task has next to nothing left to do.
                Found::Busy if !has_waited => {
                    has_waited = true;
                    yield_now().await;
                }
                Found::Busy | Found::Nothing => return None,
            }
        }
    }

    /// Takes a connection back after an answer that was read to its end.
    pub(super) fn put_back(&self, lease: Lease) {
        match lease.readiness() {
            Readiness::Shared | Readiness::Closed => {}
            Readiness::Ready | Readiness::Busy => self.state().keep(lease, self.idle_max, Instant::now()),
        }
    }

    /// Sees to it that a shared connection which has gone silent gets no further requests.
    pub(super) fn distrust(&self, id: u64) {
        let mut state = self.state();
        if state.shared.as_ref().is_some_and(|shared| shared.id() == id) {
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
        let lease = Lease::new(sender, id);
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
    /// Takes out the connection to use next, and those above it that will not do any more.
    fn find(&mut self, now: Instant) -> Found {
        if let Some(shared) = &self.shared {
            if let Some(lease) = shared.share().filter(|lease| self.is_open(lease, now)) {
                return Found::Open(lease, Duration::ZERO);
            }
            self.shared = None;
        }
        let mut otherwise = Found::Nothing;
        for position in (0..self.idle.len()).rev() {
            let idle = &self.idle[position];
            if !self.is_worth_keeping(idle, now) {
                self.idle.remove(position);
            } else if idle.lease.readiness() == Readiness::Busy {
                otherwise = Found::Busy;
            } else {
                let Idle { lease, since } = self.idle.remove(position);
                return Found::Open(lease, now.saturating_duration_since(since));
            }
        }
        otherwise
    }

    fn keep(&mut self, lease: Lease, idle_max: usize, now: Instant) {
        if self.idle.len() >= idle_max || self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_INTERVAL) {
            self.sweep(now);
        }
        if self.idle.len() < idle_max && self.is_open(&lease, now) {
            self.idle.push(Idle { lease, since: now });
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.swept_at = Some(now);
        let mut idle = std::mem::take(&mut self.idle);
        idle.retain(|idle| self.is_worth_keeping(idle, now));
        self.idle = idle;
    }

    fn is_worth_keeping(&self, idle: &Idle, now: Instant) -> bool {
        let idle_max = if idle.lease.readiness() == Readiness::Busy { READY_WAIT_MAX } else { IDLE_MAX };
        now.saturating_duration_since(idle.since) < idle_max && self.is_open(&idle.lease, now)
    }

    fn is_open(&self, lease: &Lease, now: Instant) -> bool {
        lease.readiness() != Readiness::Closed && lease.is_current(now, CONNECTION_AGE_MAX, self.retired_below)
    }
}
