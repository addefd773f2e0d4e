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
        loop {
            let (lease, idle_for) = self.state().ready()?;
            if idle_for < UNNOTICED_CLOSE_AFTER {
                return Some(lease);
            }
            // Lets the runtime look at its sockets, and so notice a close that has arrived while nobody looked.
            tokio::task::yield_now().await;
            if lease.is_usable(CONNECTION_AGE_MAX, 0) {
                return Some(lease);
            }
        }
    }

    /// Takes a connection back after an answer that was read to its end.
    pub(super) fn put_back(self: &Arc<Self>, mut lease: Lease) {
        match lease.readiness() {
            Readiness::Shared | Readiness::Closed => {}
            Readiness::Ready => self.state().keep(lease, self.idle_max),
            Readiness::Busy => {
                let pool = Arc::clone(self);
                tokio::spawn(async move {
                    if timeout(READY_WAIT_MAX, lease.ready()).await.is_ok() {
                        pool.state().keep(lease, pool.idle_max);
                    }
                });
            }
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
    /// A connection, and how long it has been idle.
    fn ready(&mut self) -> Option<(Lease, Duration)> {
        if let Some(shared) = &self.shared {
            if shared.is_usable(CONNECTION_AGE_MAX, self.retired_below) {
                return shared.share().map(|lease| (lease, Duration::ZERO));
            }
            self.shared = None;
        }
        while let Some(Idle { lease, since }) = self.idle.pop() {
            let idle_for = since.elapsed();
            if idle_for < IDLE_MAX && lease.is_usable(CONNECTION_AGE_MAX, self.retired_below) {
                return Some((lease, idle_for));
            }
        }
        None
    }

    fn keep(&mut self, lease: Lease, idle_max: usize) {
        let retired_below = self.retired_below;
        self.idle.retain(|idle| idle.since.elapsed() < IDLE_MAX && idle.lease.is_usable(CONNECTION_AGE_MAX, retired_below));
        if self.idle.len() < idle_max && lease.is_usable(CONNECTION_AGE_MAX, retired_below) {
            self.idle.push(Idle { lease, since: Instant::now() });
        }
    }
}
