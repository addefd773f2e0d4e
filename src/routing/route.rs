//! Routes: two shares, and the names of the common ones.

use std::{fmt, str::FromStr};

use crate::model::Percent;

/// Where a source's events go: S % of its people to Segment, R % to RudderStack, and V % that Segment keeps for verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    segment: Percent,
    rudderstack: Percent,
    verify: Percent,
}

/// A route that is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The two shares leave some people's events without any destination.
    #[error(
        "{segment} to Segment and {rudderstack} to RudderStack leave events without a destination: together they must make 100% or more"
    )]
    Gap {
        /// Segment's share.
        segment: Percent,
        /// RudderStack's share.
        rudderstack: Percent,
    },
    /// Not the name of a stage.
    #[error("`{0}` is no route: write segment-only, shadow=25%, both, cutover=25% or rudderstack-only")]
    Unknown(String),
}

/// The names of the common routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// 100/0
    SegmentOnly,
    /// 100/N: copies beside Segment.
    Shadow(Percent),
    /// 100/100
    Both,
    /// (100-N)/N: people moved from one side to the other.
    Cutover(Percent),
    /// 0/100
    RudderStackOnly,
}

impl Route {
    /// A route of two shares.
    ///
    /// # Errors
    /// When they add up to less than 100 %.
    pub fn new(segment: Percent, rudderstack: Percent, verify: Percent) -> Result<Self, RouteError> {
        if segment.hundredths() + rudderstack.hundredths() < Percent::FULL.hundredths() {
            return Err(RouteError::Gap { segment, rudderstack });
        }
        Ok(Self { segment, rudderstack, verify })
    }

    /// The same with another verify share.
    #[must_use]
    pub const fn verifying(self, verify: Percent) -> Self {
        Self { verify, ..self }
    }

    /// The share of people whose events go to Segment, the verify share not counted.
    #[must_use]
    pub const fn segment(self) -> Percent {
        self.segment
    }

    /// The share of people whose events go to RudderStack.
    #[must_use]
    pub const fn rudderstack(self) -> Percent {
        self.rudderstack
    }

    /// The share of people whom Segment keeps getting after a cutover, so that both sides can still be compared.
    #[must_use]
    pub const fn verify(self) -> Percent {
        self.verify
    }
}

impl From<Stage> for Route {
    fn from(stage: Stage) -> Self {
        let (segment, rudderstack) = match stage {
            Stage::SegmentOnly => (Percent::FULL, Percent::ZERO),
            Stage::Shadow(share) => (Percent::FULL, share),
            Stage::Both => (Percent::FULL, Percent::FULL),
            Stage::Cutover(share) => (share.rest(), share),
            Stage::RudderStackOnly => (Percent::ZERO, Percent::FULL),
        };
        Self { segment, rudderstack, verify: Percent::ZERO }
    }
}

/// As the configuration takes it: the stage's name where it has one, else both shares. The verify share is not in it.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages =
            [Stage::SegmentOnly, Stage::Both, Stage::RudderStackOnly, Stage::Shadow(self.rudderstack), Stage::Cutover(self.rudderstack)];
        let same = |stage: &Stage| {
            let route = Self::from(*stage);
            (route.segment, route.rudderstack) == (self.segment, self.rudderstack)
        };
        match stages.iter().find(|stage| same(stage)) {
            Some(stage) => stage.fmt(f),
            None => write!(f, "{{ segment = \"{}\", rudderstack = \"{}\" }}", self.segment, self.rudderstack),
        }
    }
}

/// What [`Display`](fmt::Display) writes, without a verify share.
impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let Some(shares) = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
            return text.parse().map(Stage::into);
        };
        let share = |name: &str| {
            let part = shares.split(',').find_map(|part| part.trim().strip_prefix(name)?.trim_start().strip_prefix('='));
            part.and_then(|value| value.trim().trim_matches('"').parse().ok()).ok_or_else(|| RouteError::Unknown(text.to_owned()))
        };
        Self::new(share("segment")?, share("rudderstack")?, Percent::ZERO)
    }
}

impl FromStr for Stage {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let wrong = || RouteError::Unknown(text.to_owned());
        match text.trim() {
            "segment-only" => Ok(Self::SegmentOnly),
            "both" => Ok(Self::Both),
            "rudderstack-only" => Ok(Self::RudderStackOnly),
            share => {
                let (name, percent) = share.split_once(['=', ' ']).ok_or_else(wrong)?;
                let percent = percent.parse().map_err(|_| wrong())?;
                match name {
                    "shadow" => Ok(Self::Shadow(percent)),
                    "cutover" => Ok(Self::Cutover(percent)),
                    _ => Err(wrong()),
                }
            }
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentOnly => f.write_str("segment-only"),
            Self::Shadow(share) => write!(f, "shadow={share}"),
            Self::Both => f.write_str("both"),
            Self::Cutover(share) => write!(f, "cutover={share}"),
            Self::RudderStackOnly => f.write_str("rudderstack-only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_two_shares() {
        let table = [
            ("segment-only", 10_000, 0),
            ("shadow=25%", 10_000, 2_500),
            ("both", 10_000, 10_000),
            ("cutover=25%", 7_500, 2_500),
            ("rudderstack-only", 0, 10_000),
        ];
        for (text, segment, rudderstack) in table {
            let stage: Stage = text.parse().unwrap();
            assert_eq!(stage.to_string(), text);
            let route = Route::from(stage);
            assert_eq!((route.segment().hundredths(), route.rudderstack().hundredths()), (segment, rudderstack), "{text}");
        }
        assert!("shadow".parse::<Stage>().is_err());
        assert!("cutover=25".parse::<Stage>().is_err());
    }

    #[test]
    fn a_route_is_written_as_it_is_read() {
        for text in
            ["segment-only", "shadow=0.5%", "both", "cutover=25%", "rudderstack-only", "{ segment = \"80%\", rudderstack = \"40%\" }"]
        {
            let route: Route = text.parse().unwrap();
            assert_eq!(route.to_string(), text);
        }
        assert_eq!("cutover=0%".parse::<Route>().unwrap().to_string(), "segment-only");
        assert!("{ segment = \"80%\" }".parse::<Route>().is_err());
        assert!("{ segment = \"10%\", rudderstack = \"10%\" }".parse::<Route>().is_err());
    }

    #[test]
    fn a_route_that_loses_people_is_refused() {
        let half: Percent = "50%".parse().unwrap();
        assert!(Route::new(half, half, Percent::ZERO).is_ok());
        assert!(Route::new(half, "49.99%".parse().unwrap(), Percent::ZERO).is_err());
    }
}
