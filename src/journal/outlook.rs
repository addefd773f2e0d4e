//! How long the quota lasts, by how fast the log was filled of late.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path, time::Duration};

use super::{
    Settings,
    format::{Checkpoint, FILE_HEADER_BYTES, FileHeader, FileKind, HEADER_LENGTH, HeaderRead, Kind, Seal},
    keeper::quota_of,
    names::Name,
    shared::Shared,
    stock::lock,
    words::Position,
};
use crate::model::WallTime;

/// How fast a log was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// So much of it,
    pub bytes: u64,
    /// in this time, which is at least a second.
    pub over: Duration,
}

/// What is older says little about now.
const RECENT: Duration = Duration::from_hours(24);
/// How much of a volume's file is read to find its checkpoint.
const FRONT_BYTES_MAX: u64 = 1 << 20;

impl Pace {
    /// How long `bytes` last at this pace, in hours.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a forecast is not exact")]
    pub fn hours_of(self, bytes: u64) -> f64 {
        bytes as f64 / self.bytes.max(1) as f64 * self.over.as_secs_f64() / 3600.0
    }

    /// Of volumes that began at these times and had so many bytes, oldest first; None when there is too little to tell.
    fn of(volumes: &[(WallTime, u64)]) -> Option<Self> {
        let (newest, _) = volumes.last()?;
        let recent = |opened_at: &WallTime| u128::from(newest.millis_since(*opened_at).unsigned_abs()) <= RECENT.as_millis();
        let first = volumes.iter().position(|(opened_at, _)| recent(opened_at))?;
        // The newest volume is not full yet: it says only when the one before was.
        let bytes = volumes[first..volumes.len() - 1].iter().map(|(_, bytes)| bytes).sum();
        let over = Duration::from_millis(u64::try_from(newest.millis_since(volumes[first].0)).ok()?);
        (bytes > 0 && over >= Duration::from_secs(1)).then_some(Self { bytes, over })
    }
}

/// How much the log may hold before it is full, by its settings alone.
#[must_use]
pub fn capacity_bytes(settings: &Settings) -> u64 {
    quota_of(settings)
}

/// The pace of the log in that directory, by what its volumes say of themselves. It only reads, and takes no lock; None when
/// there is no directory, or too little in it to tell.
#[must_use]
pub fn past_pace(dir: &Path) -> Option<Pace> {
    let mut fronts = BTreeMap::new();
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        if let (Name::Volume(id), Ok(file)) = (Name::of(&entry.file_name().to_string_lossy()), File::open(entry.path()))
            && let Some(front) = front(file, id)
        {
            fronts.insert(id, front);
        }
    }
    // Each checkpoint says where the volume before it ended.
    let ends: BTreeMap<u64, u64> = fronts.values().map(|(_, since)| (since.volume, since.offset)).collect();
    let volumes: Vec<_> = fronts.iter().map(|(id, (opened_at, _))| (*opened_at, ends.get(id).copied().unwrap_or(0))).collect();
    Pace::of(&volumes)
}

/// When a volume began, and where the log ended before it.
fn front(file: File, id: u64) -> Option<(WallTime, Position)> {
    let mut bytes = Vec::new();
    file.take(FRONT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let HeaderRead::Valid(header) = FileHeader::decode(FileKind::Volume, bytes.get(..HEADER_LENGTH)?) else { return None };
    let seal = Seal::new(FileKind::Volume, header.epoch, id);
    let frame = seal.read_header(FILE_HEADER_BYTES, &bytes[HEADER_LENGTH..])?;
    let start = HEADER_LENGTH + frame.body_start();
    let body = bytes.get(start..start + frame.body_bytes as usize)?;
    let whole = frame.kind == Kind::Checkpoint && seal.body_is_whole(FILE_HEADER_BYTES, &frame, body);
    whole.then(|| Some((frame.received_at, Checkpoint::decode(body)?.since)))?
}

/// In how many hours the running journal is full when nothing is delivered and events come as they came of late; None when there is
/// too little to tell.
pub(super) fn hours_left(shared: &Shared) -> Option<f64> {
    let log = lock(&shared.log);
    let whole: Vec<_> =
        log.volumes.values().filter(|volume| volume.spill.is_none()).map(|volume| (volume.opened_at, volume.limit)).collect();
    let pinned: u64 = log.volumes.values().filter(|volume| volume.passed_at.is_none()).map(|volume| volume.size).sum();
    let left = quota_of(&shared.settings).saturating_sub(pinned);
    drop(log);
    Some(Pace::of(&whole)?.hours_of(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_day_and_the_volume_at_hand_only_ends_it() {
        let at = |minutes: i64| WallTime::from_millis(minutes * 60_000);
        let pace = Pace::of(&[(at(-3000), 9999), (at(0), 600), (at(30), 1200), (at(60), 5)]).unwrap();
        assert_eq!(pace, Pace { bytes: 1800, over: Duration::from_hours(1) });
        assert!((pace.hours_of(18_000) - 10.0).abs() < 1e-9);
        assert_eq!(Pace::of(&[(at(0), 600)]), None);
        assert_eq!(Pace::of(&[(at(0), 600), (at(0), 600)]), None);
        assert_eq!(Pace::of(&[]), None);
        assert_eq!(past_pace(Path::new("/nonexistent")), None);
    }
}
