//! What somebody may do with a running sidecar.

use std::fmt;

/// One thing that the admin API lets its callers do, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// See figures, routes and history, and what a change would do. Nothing of a person.
    Look,
    /// Change routes, holds, limits and what is in quarantine.
    Operate,
    /// See what events say of a person.
    Reveal,
}

/// The roles of one caller. Whoever has any may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles {
    /// Whether the caller may change things.
    pub operate: bool,
    /// Whether the caller may see values unmasked.
    pub reveal: bool,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Operate => "operate",
            Self::Reveal => "reveal",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Roles {
    /// The sidecar's own user and root.
    pub const ALL: Self = Self { operate: true, reveal: true };

    /// Whether that may be done.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        match role {
            Role::Look => true,
            Role::Operate => self.operate,
            Role::Reveal => self.reveal,
        }
    }

    /// All of them, the least first.
    #[must_use]
    pub fn list(self) -> Vec<Role> {
        [Role::Look, Role::Operate, Role::Reveal].into_iter().filter(|role| self.has(*role)).collect()
    }
}
