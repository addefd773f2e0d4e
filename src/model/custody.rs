//! Who else can get at a file, by its owner and mode.

/// What the system says of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Custody {
    /// The type and permission bits.
    pub mode: u32,
    /// The owner's user id.
    pub owner: u32,
}

/// How a file is exposed, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// It belongs to a user who is neither root nor we.
    Foreign(u32),
    /// Users that do not own it can change it.
    Changeable,
    /// Every user can read it.
    Readable,
    /// Its group can read it.
    GroupReadable,
}

impl Custody {
    /// Who else can get at a secret that the user `own` reads; None when nobody but root can. A group may read what root
    /// owns: that is how a service without root reads a file of the system's.
    #[must_use]
    pub const fn exposure(self, own: u32) -> Option<Exposure> {
        if self.owner != 0 && self.owner != own {
            Some(Exposure::Foreign(self.owner))
        } else if self.mode & 0o022 != 0 {
            Some(Exposure::Changeable)
        } else if self.mode & 0o007 != 0 {
            Some(Exposure::Readable)
        } else if self.mode & 0o070 != 0 && (self.owner != 0 || own == 0) {
            Some(Exposure::GroupReadable)
        } else {
            None
        }
    }
}

impl std::fmt::Display for Exposure {
    /// A sentence's end: "FILE ...".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign(owner) => write!(f, "belongs to another user (uid {owner})"),
            Self::Changeable => f.write_str("can be changed by other users"),
            Self::Readable => f.write_str("can be read by every user of this machine"),
            Self::GroupReadable => f.write_str("can be read by its group"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_user_and_a_group_under_root_may_read() {
        let (root, user, own) = (0, 1_000, 1_000);
        let table = [
            (0o100_600, user, own, None),
            (0o100_400, user, own, None),
            (0o100_640, root, own, None),
            (0o100_640, user, own, Some(Exposure::GroupReadable)),
            (0o100_640, root, root, Some(Exposure::GroupReadable)),
            (0o100_644, root, own, Some(Exposure::Readable)),
            (0o100_660, root, own, Some(Exposure::Changeable)),
            (0o100_602, user, own, Some(Exposure::Changeable)),
            (0o100_600, 1_001, own, Some(Exposure::Foreign(1_001))),
            (0o100_600, user, root, Some(Exposure::Foreign(1_000))),
        ];
        for (mode, owner, own, want) in table {
            assert_eq!(Custody { mode, owner }.exposure(own), want, "{mode:o} of {owner} for {own}");
        }
    }
}
