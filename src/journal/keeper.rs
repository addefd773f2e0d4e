//! Room on the disk: the next volume is prepared before it is needed, passed volumes are given back.
//!
//! A volume is given back only when every lane has passed it and a durable cursor says so. Passed volumes are kept for replay as
//! long as the settings say and there is room; when room is short the oldest goes first. A passed volume of full size becomes
//! the next volume under a new name, whose blocks have been written
//! already; a new one is made ready as [`Preparation`](super::preparation::Preparation) says.

use std::{io, time::Duration};

use super::{
    Health, Settings,
    alarm::Woken,
    names,
    reserve::{is_full, refill},
    shared::{Log, Shared, Spare, Volume},
    spiller::{self, Look},
    stock::lock,
};

/// How often passed volumes are looked at when nothing happens.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How much is written to find out whether the disk writes again.
const PROBE_BYTES: usize = 4096;
/// The reserve, as a share of the quota: cursors and quarantine go on in it when the log is full.
const RESERVE_SHARE: u64 = 16;

/// Why there is no volume to write to.
#[derive(Debug)]
pub(super) enum NoRoom {
    /// The quota or the disk is used up.
    Full,
    /// The disk fails.
    Disk(io::Error),
}

impl NoRoom {
    /// Tells a full disk from a failing one.
    pub(super) fn of(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Disk(error) }
    }
}

/// Runs until the journal closes.
pub(super) fn run(shared: &Shared) {
    loop {
        round(shared);
        if shared.keeper.wait(Some(LOOK_INTERVAL), Duration::ZERO) == Woken::Closing {
            return;
        }
    }
}

/// What is done at each look.
pub(super) fn round(shared: &Shared) {
    step(shared);
    check_in_place(shared);
    // Records that are for no lane complete by themselves, but nobody says so.
    shared.saver.ring();
}

/// Gives back what may go and prepares the next volume.
pub(super) fn step(shared: &Shared) {
    {
        let _one_at_a_time = lock(&shared.preparing);
        mark_passed(shared);
        // One passed volume of full size may stay: it is the next spare.
        loop {
            let (expired, has_spare) = {
                let log = lock(&shared.log);
                (log.expired(shared), log.spare.is_some())
            };
            let Some(id) = expired else { break };
            let is_reused = !has_spare && recycle(shared, id).is_ok();
            if !is_reused && give_back(shared, id).is_err() {
                break;
            }
        }
    }
    let mut look = Look::Again;
    while !shared.queue.is_closed() {
        become_well(shared);
        if look == Look::Nothing {
            break;
        }
        look = spiller::step(shared);
    }
    spiller::weigh(shared);
    refill(shared);
}

/// Prepares the next volume; a journal that was full or broken takes records again when there is room and the disk writes.
fn become_well(shared: &Shared) {
    let health = lock(&shared.status).health;
    let is_well = match health {
        Health::Writable | Health::Full => prepare(shared).is_ok() && is_full_still(shared) == Some(Relief::Enough),
        Health::Broken => probe(shared).is_ok(),
    };
    if is_well {
        shared.set_health(Health::Writable, "");
    }
}

/// Finds out whether a broken disk writes again, on a fresh volume that then is the next one: nobody may append to a journal
/// that says it is not ready, so appends alone would never find out.
fn probe(shared: &Shared) -> Result<(), NoRoom> {
    let stale = lock(&shared.log).spare.take();
    if let Some(spare) = stale {
        discard(shared, spare.id);
    }
    prepare(shared)?;
    let _one_at_a_time = lock(&shared.preparing);
    let spare = lock(&shared.log).spare.take().ok_or(NoRoom::Full)?;
    if let Err(error) = spare.file.write_at(&[0; PROBE_BYTES], 0).and_then(|()| spare.file.sync_data()) {
        discard(shared, spare.id);
        return Err(NoRoom::of(error));
    }
    lock(&shared.log).spare = Some(spare);
    Ok(())
}

/// How much room there is after the journal was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relief {
    /// It is below the low watermark.
    Enough,
    /// It would be full again at once.
    TooLittle,
}

/// None: the journal is not full. It takes records again when, besides the next volume, a share of the quota as large as the reserve
/// is not needed by any lane: else it would be full and not full in turn, one volume at a time.
fn is_full_still(shared: &Shared) -> Option<Relief> {
    if lock(&shared.status).health != Health::Full {
        return None;
    }
    let log = lock(&shared.log);
    let pinned: u64 = log.volumes.values().filter(|volume| volume.passed_at.is_none()).map(|volume| volume.size).sum();
    let wanted = shared.settings.volume_size.0 + shared.settings.size_max.0 / RESERVE_SHARE;
    Some(if pinned + wanted <= quota(shared) { Relief::Enough } else { Relief::TooLittle })
}

/// Finds out whether the newest volume still has its name: a directory that was removed under us takes writes, and keeps
/// nothing.
fn check_in_place(shared: &Shared) {
    let newest = lock(&shared.log).volumes.last_key_value().map(|(id, volume)| (*id, volume.file_name(*id)));
    let Some((newest, name)) = newest else { return };
    let opened = shared.disk.open(&name).err();
    if opened.is_some_and(|error| error.kind() == io::ErrorKind::NotFound) {
        tracing::error!(volume = newest, "the newest volume is gone from the data directory");
        lock(&shared.log).spare = None;
        shared.counts.volume_gone.store(true, std::sync::atomic::Ordering::Release);
    }
}

/// The next volume, prepared now if need be.
pub(super) fn take_spare(shared: &Shared) -> Result<Spare, NoRoom> {
    prepare(shared)?;
    if is_full_still(shared) == Some(Relief::TooLittle) {
        return Err(NoRoom::Full);
    }
    let mut log = lock(&shared.log);
    let spare = log.spare.take().ok_or(NoRoom::Full)?;
    // Until its first record is durable nothing else counts it.
    log.opening_bytes = spare.size;
    Ok(spare)
}

/// Removes a volume that never had a durable record. Should its name come back after a crash, recovery sees that the log goes
/// on elsewhere.
pub(super) fn discard(shared: &Shared, id: u64) {
    let _ = shared.disk.remove(&names::volume(id));
}

/// Has a volume in waiting: its file has its full length on disk, and so has its name, before anything in it is acknowledged.
fn prepare(shared: &Shared) -> Result<(), NoRoom> {
    let _one_at_a_time = lock(&shared.preparing);
    if lock(&shared.log).spare.is_some() {
        return Ok(());
    }
    mark_passed(shared);
    let size = shared.settings.volume_size.0;
    loop {
        let fits = lock(&shared.log).volume_bytes() + size <= quota(shared);
        if fits {
            match create(shared, size) {
                Err(NoRoom::Full) => {}
                done => return done,
            }
        }
        let oldest = lock(&shared.log).passed();
        let Some(id) = oldest else { return Err(NoRoom::Full) };
        let is_reusable = lock(&shared.log).volumes.get(&id).is_some_and(|volume| volume.size == size && volume.is_reusable());
        if is_reusable {
            return recycle(shared, id).map_err(NoRoom::of);
        }
        give_back(shared, id).map_err(NoRoom::of)?;
    }
}

/// How many bytes volumes may take.
pub(super) fn quota(shared: &Shared) -> u64 {
    quota_of(&shared.settings)
}

/// The same, by the settings.
pub(super) const fn quota_of(settings: &Settings) -> u64 {
    settings.size_max.0 - settings.size_max.0 / RESERVE_SHARE
}

fn create(shared: &Shared, size: u64) -> Result<(), NoRoom> {
    let id = next_id(shared);
    let name = names::volume(id);
    let preparation = lock(&shared.log).filling.preparation(shared.tuning.allocation_group_bytes);
    let made = shared.disk.create(&name).and_then(|file| {
        preparation.carry_out(file.as_ref(), size)?;
        file.sync_data()?;
        shared.disk.sync_dir()?;
        Ok(file)
    });
    match made {
        Ok(file) => {
            lock(&shared.log).spare = Some(Spare { id, file, size });
            Ok(())
        }
        Err(error) => {
            discard(shared, id);
            Err(NoRoom::of(error))
        }
    }
}

/// Makes a passed volume the next one. What stands in it does not validate under its new number.
fn recycle(shared: &Shared, old: u64) -> io::Result<()> {
    let size = shared.settings.volume_size.0;
    let id = next_id(shared);
    let name = names::volume(id);
    let file = shared.disk.open(&names::volume(old))?;
    let is_reusable = lock(&shared.log).volumes.get(&old).is_some_and(Volume::is_reusable);
    if !is_reusable || file.size()? != size {
        return Err(io::Error::other("not of full size, or a write or sync of it has failed"));
    }
    shared.disk.rename(&names::volume(old), &name)?;
    lock(&shared.log).volumes.remove(&old);
    if let Err(error) = shared.disk.sync_dir() {
        discard(shared, id);
        return Err(error);
    }
    lock(&shared.log).spare = Some(Spare { id, file, size });
    Ok(())
}

fn give_back(shared: &Shared, id: u64) -> io::Result<()> {
    let Some(name) = lock(&shared.log).volumes.get(&id).map(|volume| volume.file_name(id)) else { return Ok(()) };
    match shared.disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    lock(&shared.log).volumes.remove(&id);
    shared.disk.sync_dir()
}

pub(super) fn next_id(shared: &Shared) -> u64 {
    let mut log = lock(&shared.log);
    let id = log.next_id;
    log.next_id += 1;
    id
}

/// Notes which volumes every lane has passed, as far as durable cursors say so.
fn mark_passed(shared: &Shared) {
    let now = tokio::time::Instant::now();
    #[cfg(test)]
    if shared.tuning.sabotage == super::sabotage::Sabotage::FreeBeforeCursor {
        let (snapshot, _) = super::cursor::snapshot(shared);
        let low = snapshot.low();
        lock(&shared.log).free_before = low;
    }
    let mut log = lock(&shared.log);
    let free_before = log.free_before;
    // The newest volume says where the log ends and what was planned: it always stays.
    let newest = log.end().volume;
    for (id, volume) in &mut log.volumes {
        if volume.last(*id) < free_before.volume && *id != newest && volume.passed_at.is_none() {
            volume.passed_at = Some(now);
        }
    }
}

impl Log {
    /// The oldest volume that every lane has passed.
    pub(super) fn passed(&self) -> Option<u64> {
        self.volumes.first_key_value().filter(|(_, volume)| volume.passed_at.is_some()).map(|(id, _)| *id)
    }

    /// The oldest volume, when it was passed so long ago that nobody wants to replay it.
    fn expired(&self, shared: &Shared) -> Option<u64> {
        let (id, volume) = self.volumes.first_key_value()?;
        let is_pinned = self.pinned_from.is_some_and(|from| volume.last(*id) >= from);
        volume.passed_at.filter(|passed_at| !is_pinned && passed_at.elapsed() >= shared.settings.keep_delivered).map(|_| *id)
    }
}
