//! Lets the script's incidents happen.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    network::Network,
    script::{Crash, Incident, Kind, Place, Poison},
    site::Site,
    trace::Trace,
};
use crate::{
    journal::Trouble,
    standin::{Fault, Rule, Standin},
};

/// What the weather can hit.
#[derive(Clone)]
pub(super) struct Weather {
    pub(super) site: Site,
    pub(super) network: Network,
    pub(super) vendors: [Arc<Standin>; 2],
    pub(super) trace: Trace,
}

impl Weather {
    /// One incident, from its beginning to its end.
    pub(super) async fn strike(self, incident: Incident) {
        let Incident { at, length, kind } = incident;
        sleep(at).await;
        self.trace.note(&format!("{kind:?} for {} ms", length.as_millis()));
        match kind {
            Kind::Crash(crash) => {
                if self.site.crash(crash) {
                    self.site.start_after(length).await;
                }
            }
            Kind::Vendor(vendor, fault, times) => {
                let faults = self.vendors[vendor as usize].faults();
                let rule = faults.add(Rule { times, ..Rule::always(fault) });
                sleep(length).await;
                faults.lift(rule);
            }
            Kind::Cut(place) => {
                self.network.set_refusing(place, true);
                self.network.cut(place);
                sleep(length).await;
                self.network.set_refusing(place, false);
            }
            Kind::Stall(place) => {
                self.network.path(place).stall(length);
                sleep(length).await;
            }
            // Syncs fail while nobody takes anything, and then the power goes: what was only said to be on disk is gone.
            Kind::Disk(trouble) if trouble.syncs % 2 == 1 => {
                for place in Place::ALL {
                    self.network.set_refusing(place, true);
                    self.network.cut(place);
                }
                self.site.disk().trouble(trouble);
                sleep(length).await;
                let was_up = self.site.crash(Crash::PowerCut);
                for place in Place::ALL {
                    self.network.set_refusing(place, false);
                }
                if was_up {
                    self.site.start_after(Duration::from_millis(500)).await;
                }
            }
            Kind::Disk(trouble) => {
                self.site.disk().trouble(trouble);
                sleep(length).await;
                self.site.disk().trouble(Trouble::default());
            }
            Kind::DiskFull(bytes) => {
                self.site.disk().set_capacity(bytes);
                sleep(length).await;
                self.site.disk().set_capacity(u64::MAX);
            }
            Kind::ClockJump(by_ms) => self.site.jump(by_ms),
        }
        self.trace.note("an incident is over");
    }

    /// What RudderStack never takes.
    pub(super) fn poison(&self, poison: Poison) {
        if poison == Poison::Some {
            self.vendors[Place::RudderStack as usize].faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
        }
    }

    /// Everything works again.
    pub(super) async fn clear_up(&self, poison: Poison) {
        for place in Place::ALL {
            self.network.set_refusing(place, false);
            self.network.path(place).heal();
        }
        for vendor in &self.vendors {
            vendor.faults().clear();
        }
        self.poison(poison);
        let disk = self.site.disk();
        disk.trouble(Trouble::default());
        disk.set_capacity(u64::MAX);
        if disk.is_cut() {
            self.site.crash(Crash::PowerCut);
        }
        disk.keep_power();
        self.trace.note("the weather clears up");
        self.site.start().await;
        // A start that failed under the weather comes again by itself.
        sleep(Duration::from_secs(2)).await;
    }
}
