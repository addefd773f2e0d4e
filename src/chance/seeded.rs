//! Randomness from a seed, for one thread. Only in test builds.

use std::cell::RefCell;

use crate::model::Dice;

thread_local! {
    static DICE: RefCell<Option<Dice>> = const { RefCell::new(None) };
}

/// While it lives, all randomness on this thread comes from its seed.
#[derive(Debug)]
pub(crate) struct Seeded(());

impl Seeded {
    pub(crate) fn begin(seed: u64) -> Self {
        DICE.with_borrow_mut(|dice| *dice = Some(Dice::new(seed)));
        Self(())
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        DICE.with_borrow_mut(|dice| *dice = None);
    }
}

/// The next bytes; None when nothing is seeded here.
pub(super) fn bytes() -> Option<[u8; 16]> {
    DICE.with_borrow_mut(|dice| {
        let dice = dice.as_mut()?;
        Some(((u128::from(dice.next()) << 64) | u128::from(dice.next())).to_ne_bytes())
    })
}
