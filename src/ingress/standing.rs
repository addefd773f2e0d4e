//! Where a connection stands: what it is doing, since when, and whether it has to go.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{Limits, body::GRACE};

/// One connection, as its place in the room knows it.
#[derive(Debug)]
pub(super) struct Standing {
    /// The address whose share it counts against; None: of no limited share.
    pub counted: Option<IpAddr>,
    accepted_at: Instant,
    state: Mutex<State>,
    cut: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests under way, by their [`Stage`].
    turns: [u32; 3],
    answered: u64,
    abandoned: u64,
    /// Since when nothing new was asked.
    quiet_since: Instant,
    /// Since when an answer waits to be taken.
    stall: Option<Stall>,
    socket: Socket,
    written_bytes: u64,
    /// Bytes read that belong to no request that has begun and to no body that was taken.
    chatter_bytes: u64,
    /// Bytes read while no request was under way, and not yet replied to.
    unreplied_bytes: u64,
    /// Bytes written in reply to those, at most as many as were read.
    replied_bytes: u64,
}

/// An answer that the client does not take, and what it had taken of all answers by then.
#[derive(Debug, Clone, Copy)]
struct Stall {
    since: Instant,
    written_bytes: u64,
}

/// Whether the socket takes what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// It has taken everything.
    Taking,
    /// It takes no more for now.
    Blocked,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Its body is still coming.
    Reading = 0,
    /// It is here whole; the answer is being made.
    Answering = 1,
    /// The answer is made, and not all of it is out.
    Sending = 2,
}

/// One request on a connection, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Turn {
    standing: Arc<Standing>,
    stage: AtomicU8,
    afterwards: AtomicU8,
}

/// What becomes of an HTTP/1.1 connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Afterwards {
    /// It takes the next request.
    GoesOn,
    /// It closes.
    Closes,
}

/// Who goes first when a place is needed; the lesser goes before the greater, of equals the one with the earlier moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It has never had an answer: a handshake, a head or a first body that may never end.
    Stranger,
    /// It has had answers and asks nothing now.
    Resting,
    /// It has had answers, and a body of it is coming or an answer is not taken.
    Busy,
}

/// Why a connection has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overstay {
    /// Nothing was asked for as long as a connection may be idle.
    Idle,
    /// It does not take its answers.
    Stalled,
    /// It gave requests up more often than it waited for the answer, or another needs its place.
    Cut,
}

/// Bytes that a connection may send between requests: an h2 connection's whole window, so that no body in the making is taken
/// for chatter, and some control frames. Floods of PING, SETTINGS, PRIORITY or empty DATA end here.
const CHATTER_BYTES_MAX: u64 = (1 << 20) + (64 << 10);
/// Bytes that are written in reply to what is said while no request is under way. Each PING and SETTINGS makes the server write
/// one, which costs more than reading it. Two thousand of them are five hours of a client that pings every ten seconds.
const REPLIED_BYTES_MAX: u64 = 32 << 10;
/// Requests that a connection may give up beyond those that it let be answered.
const ABANDONED_MAX: u64 = 100;

impl Standing {
    pub(super) fn new(counted: Option<IpAddr>) -> Self {
        let now = Instant::now();
        let state = State {
            turns: [0; 3],
            answered: 0,
            abandoned: 0,
            quiet_since: now,
            stall: None,
            socket: Socket::Taking,
            written_bytes: 0,
            chatter_bytes: 0,
            unreplied_bytes: 0,
            replied_bytes: 0,
        };
        Self { counted, accepted_at: now, state: Mutex::new(state), cut: Notify::new() }
    }

    /// A request's head has come.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Turn> {
        let mut state = self.state();
        state.turns[Stage::Reading as usize] += 1;
        state.quiet_since = Instant::now();
        (state.chatter_bytes, state.unreplied_bytes, state.replied_bytes) = (0, 0, 0);
        Arc::new(Turn {
            standing: Arc::clone(self),
            stage: AtomicU8::new(Stage::Reading as u8),
            afterwards: AtomicU8::new(Afterwards::GoesOn as u8),
        })
    }

    /// Tells it to go; [`Standing::overstay`] returns then.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// What it is worth when a place is needed; None while a request of it is being answered.
    pub(super) fn rank(&self) -> Option<(Rank, Instant)> {
        let state = self.state();
        if state.turns[Stage::Answering as usize] > 0 {
            None
        } else if state.answered == 0 {
            Some((Rank::Stranger, self.accepted_at))
        } else if state.turns == [0; 3] && state.stall.is_none() {
            Some((Rank::Resting, state.quiet_since))
        } else {
            Some((Rank::Busy, state.quiet_since))
        }
    }

    /// Returns when the connection has to go.
    pub(super) async fn overstay(&self, limits: &Limits) -> Overstay {
        loop {
            let now = Instant::now();
            let until = match self.look(now, limits) {
                Ok(until) => until,
                Err(overstay) => return overstay,
            };
            tokio::select! {
                () = sleep_until(until) => {}
                () = self.cut.notified() => return Overstay::Cut,
            }
        }
    }

    /// When to look again, or why it has to go.
    fn look(&self, now: Instant, limits: &Limits) -> Result<Instant, Overstay> {
        let state = self.state();
        let grace = GRACE.min(limits.body_timeout);
        let mut until = now + grace;
        if let Some(stall) = state.stall {
            let taken = state.written_bytes - stall.written_bytes;
            let deadline = stall.since + grace + Duration::from_secs(taken / limits.body_rate_min.0.max(1));
            if deadline <= now {
                return Err(Overstay::Stalled);
            }
            until = until.min(deadline);
        }
        if state.turns == [0; 3] {
            let deadline = state.quiet_since + limits.idle_timeout;
            if deadline <= now && state.stall.is_none() {
                return Err(Overstay::Idle);
            }
            until = until.min(deadline.max(now + Duration::from_millis(1)));
        }
        Ok(until)
    }

    /// So many bytes have been taken. That alone ends no stall: a client may take one byte now and then.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.written_bytes += bytes as u64;
        if state.turns == [0; 3] {
            // The end of an answer may still be on its way out: no more than was heard is a reply to it.
            let replied = state.unreplied_bytes.min(bytes as u64);
            state.unreplied_bytes -= replied;
            state.replied_bytes += replied;
        }
    }

    /// Whether more can be written, or all has been.
    pub(super) fn found(&self, socket: Socket) {
        let mut state = self.state();
        state.socket = socket;
        state.settle();
    }

    /// Counts what was read; false when that is more than any client needs to say between requests.
    pub(super) fn heard(&self, bytes: usize) -> bool {
        let mut state = self.state();
        state.chatter_bytes += bytes as u64;
        if state.turns == [0; 3] {
            state.unreplied_bytes += bytes as u64;
        }
        state.chatter_bytes <= CHATTER_BYTES_MAX && state.replied_bytes <= REPLIED_BYTES_MAX
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins or ends a stall, as things stand now.
    fn settle(&mut self) {
        let waits = self.socket == Socket::Blocked || self.turns[Stage::Sending as usize] > 0;
        match (waits, self.stall) {
            (false, _) => self.stall = None,
            (true, None) => self.stall = Some(Stall { since: Instant::now(), written_bytes: self.written_bytes }),
            (true, Some(_)) => {}
        }
    }
}

impl Turn {
    /// Moves on; a stage that is behind already is passed over.
    pub(super) fn advance(&self, to: Stage) {
        let mut state = self.standing.state();
        let from = self.stage.load(Ordering::Relaxed);
        if from < to as u8 {
            state.turns[usize::from(from)] -= 1;
            state.turns[to as usize] += 1;
            self.stage.store(to as u8, Ordering::Relaxed);
            state.settle();
        }
    }

    /// No byte behind this request is to be looked at.
    pub(super) fn close_afterwards(&self) {
        self.afterwards.store(Afterwards::Closes as u8, Ordering::Relaxed);
    }

    pub(super) fn afterwards(&self) -> Afterwards {
        if self.afterwards.load(Ordering::Relaxed) == Afterwards::Closes as u8 { Afterwards::Closes } else { Afterwards::GoesOn }
    }

    /// Bytes of the body have been taken.
    pub(super) fn took(&self, bytes: usize) {
        let mut state = self.standing.state();
        state.chatter_bytes = state.chatter_bytes.saturating_sub(bytes as u64);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.standing.state();
        let stage = self.stage.load(Ordering::Relaxed);
        state.turns[usize::from(stage)] -= 1;
        state.quiet_since = Instant::now();
        if stage == Stage::Sending as u8 {
            state.answered += 1;
        } else {
            state.abandoned += 1;
        }
        state.settle();
        if state.abandoned > state.answered + ABANDONED_MAX {
            drop(state);
            self.standing.cut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::default()
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_go_before_resting_ones_and_nobody_while_answered() {
        let standing = Arc::new(Standing::new(None));
        assert_eq!(standing.rank().unwrap().0, Rank::Stranger);
        let turn = standing.begin();
        assert_eq!(standing.rank().unwrap().0, Rank::Stranger, "a first body may never end");
        turn.advance(Stage::Answering);
        assert_eq!(standing.rank(), None);
        turn.advance(Stage::Reading);
        assert_eq!(standing.rank(), None, "there is no way back");
        turn.advance(Stage::Sending);
        drop(turn);
        assert_eq!(standing.rank().unwrap().0, Rank::Resting);
        let turn = standing.begin();
        assert_eq!(standing.rank().unwrap().0, Rank::Busy);
        drop(turn);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_goes_after_its_time() {
        let (standing, begun) = (Standing::new(None), Instant::now());
        assert_eq!(standing.overstay(&limits()).await, Overstay::Idle);
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_no_answer_goes_and_one_that_takes_it_slowly_stays() {
        let (standing, begun) = (Arc::new(Standing::new(None)), Instant::now());
        let turn = standing.begin();
        turn.advance(Stage::Sending);
        assert_eq!(standing.overstay(&limits()).await, Overstay::Stalled);
        assert_eq!(begun.elapsed().as_secs(), 10);
        let slow = Arc::new(Standing::new(None));
        slow.found(Socket::Blocked);
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            slow.wrote(1_100);
            assert!(slow.look(Instant::now(), &limits()).is_ok());
        }
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(slow.look(Instant::now(), &limits()), Err(Overstay::Stalled));
        slow.found(Socket::Taking);
        assert_ne!(slow.look(Instant::now(), &limits()), Err(Overstay::Stalled));
    }

    #[tokio::test(start_paused = true)]
    async fn chatter_and_abandoned_requests_have_an_end() {
        let standing = Arc::new(Standing::new(None));
        assert!(standing.heard(1 << 20));
        drop(standing.begin());
        assert!(standing.heard(1 << 20), "a request begins a new count");
        assert!(!standing.heard(128 << 10));
        let pinged = Arc::new(Standing::new(None));
        let pings = (0..10_000).take_while(|_| {
            let goes_on = pinged.heard(17);
            pinged.wrote(17);
            goes_on
        });
        assert_eq!(pings.count(), (32 << 10) / 17 + 1);
        // A large answer that drains, or a body that comes while its head is not looked at yet, is no exchange of pings.
        let calm = Arc::new(Standing::new(None));
        for _ in 0..30 {
            calm.wrote(32 << 10);
            assert!(calm.heard(13));
        }
        assert!(calm.heard(512 << 10));
        calm.wrote(13);
        assert!(calm.heard(1 << 10));
        for _ in 0..ABANDONED_MAX {
            drop(standing.begin());
        }
        assert_eq!(standing.overstay(&limits()).await, Overstay::Cut);
    }
}
