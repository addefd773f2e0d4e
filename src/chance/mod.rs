//! Randomness that is no secret: ids, and the jitter of waits.
//!
//! Everything that needs a random number while events flow asks here, so that a simulation can draw all of them from one seed.
//! Keys and secrets never come from here.

#[cfg(test)]
mod seeded;

use uuid::Uuid;

#[cfg(test)]
pub(crate) use seeded::Seeded;

/// A random id (UUID version 4).
#[must_use]
pub fn id() -> Uuid {
    #[cfg(test)]
    if let Some(bytes) = seeded::bytes() {
        return uuid::Builder::from_random_bytes(bytes).into_uuid();
    }
    Uuid::new_v4()
}

/// A number evenly spread over all numbers.
#[must_use]
pub fn number() -> u64 {
    let (high, low) = id().as_u64_pair();
    // The version and variant bits are constant: each half covers for the other's.
    high.rotate_left(32) ^ low
}
