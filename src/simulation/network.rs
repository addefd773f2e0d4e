//! Who can reach whom: clients the sidecar, the sidecar both vendors.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{sleep, sleep_until};

use super::{
    pipe::{Cutter, End, Path, pair},
    script::Place,
    trace::Trace,
};
use crate::{
    standin::Standin,
    upstream::{Dialling, Pipe},
};

/// All paths and connections; clones share them.
#[derive(Clone)]
pub(super) struct Network(Arc<Inner>);

struct Inner {
    paths: [Path; 3],
    vendors: [Arc<Standin>; 2],
    state: Mutex<State>,
    trace: Trace,
}

#[derive(Default)]
struct State {
    cutters: [Vec<Cutter>; 3],
    /// Paths on which connections are refused.
    refusing: [bool; 3],
    /// Which life of the sidecar is on the network; None: it is down.
    alive: Option<u64>,
    /// Connections of the sidecar that were refused.
    refused: u64,
}

impl Network {
    /// A network with these paths, in the order of [`Place::ALL`].
    pub(super) fn new(paths: [Path; 3], vendors: [Arc<Standin>; 2], trace: Trace) -> Self {
        Self(Arc::new(Inner { paths, vendors, state: Mutex::default(), trace }))
    }

    /// The origin under which that life of the sidecar reaches a vendor.
    pub(super) fn origin(place: Place, life: u64) -> String {
        format!("http://{}.{life}", place.label())
    }

    /// What the upstreams dial with.
    pub(super) fn dial(&self, host: &str) -> Dialling {
        let (network, host) = (self.clone(), host.to_owned());
        Box::pin(async move {
            let (place, life) = host.rsplit_once('.').ok_or(io::ErrorKind::InvalidInput)?;
            let life: u64 = life.parse().map_err(io::Error::other)?;
            let place = Place::ALL.into_iter().find(|known| known.label() == place).ok_or(io::ErrorKind::InvalidInput)?;
            let path = network.0.paths[place as usize].clone();
            sleep_until(path.arrival()).await;
            if network.state().alive != Some(life) {
                // Nobody hears what a dead process hears.
                sleep(std::time::Duration::from_secs(1)).await;
                return Err(io::ErrorKind::NotConnected.into());
            }
            if network.state().refusing[place as usize] {
                network.state().refused += 1;
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far, cutter) = pair(&path);
            network.state().cutters[place as usize].push(cutter);
            let (number, serving) = network.0.vendors[place as usize].welcome(far, IpAddr::from([192, 0, 2, 1]));
            network.0.trace.note(&format!("{} connection {number}", place.label()));
            tokio::spawn(serving);
            Ok(Box::new(near) as Box<dyn Pipe>)
        })
    }

    /// A client's connection to the sidecar: its own end and the sidecar's.
    pub(super) async fn call_sidecar(&self) -> io::Result<(End, End)> {
        let path = &self.0.paths[Place::Clients as usize];
        sleep_until(path.arrival()).await;
        let mut state = self.state();
        if state.alive.is_none() || state.refusing[Place::Clients as usize] {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far, cutter) = pair(path);
        state.cutters[Place::Clients as usize].push(cutter);
        Ok((near, far))
    }

    /// How many connections of the sidecar were refused.
    pub(super) fn refused(&self) -> u64 {
        self.state().refused
    }

    /// Resets every connection of a path.
    pub(super) fn cut(&self, place: Place) -> usize {
        let cutters = std::mem::take(&mut self.state().cutters[place as usize]);
        cutters.iter().filter(|cutter| cutter.cut()).count()
    }

    /// Whether new connections are refused.
    pub(super) fn set_refusing(&self, place: Place, refusing: bool) {
        self.state().refusing[place as usize] = refusing;
    }

    pub(super) fn path(&self, place: Place) -> &Path {
        &self.0.paths[place as usize]
    }

    /// Puts a life of the sidecar on the network, or takes the present one off it, with all its connections.
    pub(super) fn set_alive(&self, life: Option<u64>) {
        self.state().alive = life;
        if life.is_none() {
            for place in Place::ALL {
                self.cut(place);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
