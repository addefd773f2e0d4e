//! From when to when a certificate is valid.

use std::time::Duration;

use rcgen::CertificateParams;
use x509_parser::parse_x509_certificate;

use crate::model::WallTime;

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins_at: WallTime,
    pub(super) expires_at: WallTime,
}

impl Validity {
    /// Begins an hour ago, for the clocks of clients may be behind, and ends `life` from now.
    pub(super) fn from_now(now: WallTime, life: Duration) -> Self {
        let life_ms = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
        Self { begins_at: now.plus_millis(-HOUR_MS), expires_at: now.plus_millis(life_ms) }
    }

    /// What a certificate (DER) says; None when it is not a certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        let validity = certificate.validity();
        let moment = |seconds: i64| WallTime::from_millis(seconds.saturating_mul(1_000));
        Some(Self { begins_at: moment(validity.not_before.timestamp()), expires_at: moment(validity.not_after.timestamp()) })
    }

    /// The same, ending no later than `other`.
    pub(super) fn within(self, other: Self) -> Self {
        Self { begins_at: self.begins_at.max(other.begins_at), expires_at: self.expires_at.min(other.expires_at) }
    }

    /// Whether half of its life is over, or has not begun because the clock was set back.
    pub(super) fn is_worn(self, now: WallTime) -> bool {
        let half_ms = self.expires_at.millis_since(self.begins_at) / 2;
        now < self.begins_at || now.millis_since(self.begins_at) >= half_ms
    }

    pub(super) fn is_over(self, now: WallTime) -> bool {
        now >= self.expires_at
    }

    pub(super) fn write_to(self, params: &mut CertificateParams) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let moment = |at: WallTime| epoch + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0).min(LAST_MS));
        params.not_before = moment(self.begins_at);
        params.not_after = moment(self.expires_at);
    }
}

/// So long before its making a certificate begins.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// The end of the year 9998, in milliseconds: later times cannot be written.
const LAST_MS: u64 = 253_370_764_800_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_what_was_written_into_it() {
        let now = WallTime::from_millis(1_795_470_595_000);
        let validity = Validity::from_now(now, Duration::from_hours(24));
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        validity.write_to(&mut params);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Validity::of(certificate.der()), Some(validity));
        assert_eq!(Validity::of(b"garbage"), None);
    }

    #[test]
    fn half_a_life_wears_it() {
        let now = WallTime::from_millis(1_795_470_595_000);
        let validity = Validity::from_now(now, Duration::from_hours(99));
        for (hours, worn, over) in [(-2, true, false), (0, false, false), (48, false, false), (49, true, false), (99, true, true)] {
            let then = now.plus_millis(hours * HOUR_MS);
            assert_eq!((validity.is_worn(then), validity.is_over(then)), (worn, over), "{hours} h");
        }
    }

    #[test]
    fn absurd_times_are_written_as_the_nearest_that_can_be() {
        let mut params = CertificateParams::default();
        for millis in [i64::MIN, -1, 0, i64::MAX] {
            let at = WallTime::from_millis(millis);
            Validity { begins_at: at, expires_at: at }.write_to(&mut params);
            assert!(params.self_signed(&rcgen::KeyPair::generate().unwrap()).is_ok(), "{millis}");
        }
    }
}
