//! The places that connections have, and who loses one when all are taken.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::standing::{Rank, Standing};

/// Room for a number of connections. When it is full the one that is worth least makes way: so many slow clients as there are
/// places cannot keep a healthy one out, wherever they come from.
#[derive(Debug)]
pub(super) struct Room {
    connections_max: usize,
    per_ip_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, so the oldest first.
    open: BTreeMap<u64, Arc<Standing>>,
    per_ip: HashMap<IpAddr, usize>,
    next: u64,
}

/// A connection's place; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    room: Arc<Room>,
    pub standing: Arc<Standing>,
}

/// How a connection got its place.
#[derive(Debug)]
pub(super) enum Admission {
    /// There was room.
    Free(Place),
    /// Another one made way.
    Instead(Place),
    /// There is no room, and all who have a place are being answered.
    Refused,
}

impl Room {
    pub(super) fn new(connections_max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, per_ip_max, state: Mutex::default() })
    }

    /// A place for a connection; `counted` is the address whose share it takes, None when it has none of its own: trusted
    /// proxies and loopback carry many clients.
    pub(super) fn enter(self: &Arc<Self>, counted: Option<IpAddr>) -> Admission {
        let mut state = self.state();
        let own = counted.and_then(|peer| state.per_ip.get(&peer)).copied().unwrap_or_default();
        let has_full_share = counted.is_some() && own >= self.per_ip_max;
        let is_full = has_full_share || state.open.len() >= self.connections_max;
        if is_full && !state.shed(|standing| !has_full_share || standing.counted == counted) {
            return Admission::Refused;
        }
        let number = state.next;
        state.next += 1;
        let standing = Arc::new(Standing::new(counted));
        state.open.insert(number, Arc::clone(&standing));
        if let Some(peer) = counted {
            *state.per_ip.entry(peer).or_default() += 1;
        }
        let place = Place { number, room: Arc::clone(self), standing };
        if is_full { Admission::Instead(place) } else { Admission::Free(place) }
    }

    /// Sends away the oldest connection that has never had an answer; false when there is none.
    pub(super) fn shed_stranger(&self) -> bool {
        self.state().shed(|standing| standing.rank().is_some_and(|(rank, _)| rank == Rank::Stranger))
    }

    /// How many have a place.
    pub(super) fn open(&self) -> usize {
        self.state().open.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shed(&mut self, may_go: impl Fn(&Standing) -> bool) -> bool {
        let candidates = self.open.iter().filter(|(_, standing)| may_go(standing));
        let ranked = candidates.filter_map(|(number, standing)| Some((standing.rank()?, *number)));
        let Some((_, number)) = ranked.min() else { return false };
        if let Some(standing) = self.leave(number) {
            standing.cut();
        }
        true
    }

    /// Gives a place back; None when it was given up already.
    fn leave(&mut self, number: u64) -> Option<Arc<Standing>> {
        let standing = self.open.remove(&number)?;
        if let Some(peer) = standing.counted
            && let Some(own) = self.per_ip.get_mut(&peer)
        {
            *own -= 1;
            if *own == 0 {
                self.per_ip.remove(&peer);
            }
        }
        Some(standing)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.state().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::{
        Limits,
        standing::{Overstay, Stage},
    };

    fn placed(admission: Admission) -> Place {
        match admission {
            Admission::Free(place) | Admission::Instead(place) => place,
            Admission::Refused => panic!("refused"),
        }
    }

    fn serve(place: &Place) {
        place.standing.begin().advance(Stage::Sending);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_room_sheds_the_oldest_stranger_and_keeps_who_was_served() {
        let room = Room::new(3, 10);
        let served = placed(room.enter(None));
        serve(&served);
        let strangers = [placed(room.enter(None)), placed(room.enter(None))];
        assert!(matches!(room.enter(None), Admission::Instead(_)));
        assert_eq!(strangers[0].standing.overstay(&Limits::default()).await, Overstay::Cut);
        assert_eq!(room.open(), 2, "the new one has been dropped again");
        drop(strangers);
        assert_eq!(room.open(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_being_answered_is_never_sent_away() {
        let room = Room::new(1, 10);
        let place = placed(room.enter(None));
        let turn = place.standing.begin();
        turn.advance(Stage::Answering);
        assert!(matches!(room.enter(None), Admission::Refused));
        assert!(!room.shed_stranger());
        drop(turn);
        assert!(matches!(room.enter(None), Admission::Instead(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_has_its_share_loses_one_of_its_own() {
        let room = Room::new(10, 2);
        let [greedy, other]: [IpAddr; 2] = ["203.0.113.7".parse().unwrap(), "203.0.113.8".parse().unwrap()];
        let kept = placed(room.enter(Some(other)));
        let first = placed(room.enter(Some(greedy)));
        let _second = placed(room.enter(Some(greedy)));
        let _third = placed(room.enter(Some(greedy)));
        assert_eq!(first.standing.overstay(&Limits::default()).await, Overstay::Cut);
        assert_eq!(room.open(), 3);
        drop(kept);
        assert_eq!(room.state().per_ip.get(&other), None);
        assert_eq!(room.state().per_ip[&greedy], 2);
    }
}
