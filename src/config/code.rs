//! The stable numbers of problems, and what `segue check --explain` says about each.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// The kind of a problem. Its number never changes and is never used again for another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// No file, or one that cannot be read.
    NoFile,
    /// The file is not TOML.
    Syntax,
    /// A key that nothing reads.
    UnknownKey,
    /// A value of another type than the key takes.
    WrongType,
    /// A value of the right type that makes no sense.
    WrongValue,
    /// Two files set one key.
    SetTwice,
    /// A key that must be there is not.
    Missing,
    /// A key of a feature that this version does not have.
    Later,
    /// No listener at all.
    NoListener,
    /// Two listeners on one address.
    SameAddress,
    /// Plain HTTP that other machines can reach.
    PlainExposed,
    /// TLS without certificates.
    NoCertificates,
    /// A certificate file that cannot be read.
    UnreadableFile,
    /// The journal's size does not hold its volumes.
    JournalSize,
    /// The journal's directory cannot be written.
    JournalDir,
    /// No source.
    NoSource,
    /// A name that is no id.
    BadId,
    /// Two sources with one id or name.
    SameSource,
    /// Two sources with one Segment key.
    SameKey,
    /// A route that is none.
    BadRoute,
    /// A route to RudderStack without a key for it.
    NoRudderKey,
    /// A route to RudderStack without a data plane.
    NoRudderUrl,
    /// An environment variable that is not set.
    NoVariable,
    /// A key file that cannot be read.
    NoKeyFile,
    /// A key file that others can read.
    OpenKeyFile,
    /// Text that cannot be a write key.
    BadKey,
    /// A URL that cannot be an upstream.
    BadUrl,
    /// A URL that sends events in the clear.
    PlainUrl,
}

/// Not the number of a problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no problem code: they look like SG0103")]
pub struct UnknownCode(String);

impl Code {
    /// Every code, in the order of their numbers.
    pub const ALL: [Self; 28] = [
        Self::NoFile,
        Self::Syntax,
        Self::UnknownKey,
        Self::WrongType,
        Self::WrongValue,
        Self::SetTwice,
        Self::Missing,
        Self::Later,
        Self::NoListener,
        Self::SameAddress,
        Self::PlainExposed,
        Self::NoCertificates,
        Self::UnreadableFile,
        Self::JournalSize,
        Self::JournalDir,
        Self::NoSource,
        Self::BadId,
        Self::SameSource,
        Self::SameKey,
        Self::BadRoute,
        Self::NoRudderKey,
        Self::NoRudderUrl,
        Self::NoVariable,
        Self::NoKeyFile,
        Self::OpenKeyFile,
        Self::BadKey,
        Self::BadUrl,
        Self::PlainUrl,
    ];

    /// The number behind `SG`.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::NoFile => 101,
            Self::Syntax => 102,
            Self::UnknownKey => 103,
            Self::WrongType => 104,
            Self::WrongValue => 105,
            Self::SetTwice => 106,
            Self::Missing => 107,
            Self::Later => 108,
            Self::NoListener => 110,
            Self::SameAddress => 111,
            Self::PlainExposed => 112,
            Self::NoCertificates => 120,
            Self::UnreadableFile => 121,
            Self::JournalSize => 130,
            Self::JournalDir => 131,
            Self::NoSource => 140,
            Self::BadId => 141,
            Self::SameSource => 142,
            Self::SameKey => 143,
            Self::BadRoute => 144,
            Self::NoRudderKey => 145,
            Self::NoRudderUrl => 146,
            Self::NoVariable => 150,
            Self::NoKeyFile => 151,
            Self::OpenKeyFile => 152,
            Self::BadKey => 153,
            Self::BadUrl => 160,
            Self::PlainUrl => 161,
        }
    }

    /// What the problem is, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.text().0
    }

    /// What it means and what to do, in a few lines.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        self.text().1
    }

    /// Title and explanation, kept together so that a new code cannot have one without the other.
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::NoFile => (
                "no configuration file",
                "segue reads the file of --config, else $SEGUE_CONFIG, else ./sidecar.toml, else /etc/segue/sidecar.toml,\nand then every conf.d/*.toml beside it. `segue config init` writes a first one.\nThe file must be readable by segue's user and not be larger than 1 MiB.",
            ),
            Self::Syntax => (
                "not TOML",
                "The file breaks TOML's own rules, so none of it was read. Texts stand in quotes, also those with a unit: size_max = \"8GiB\".\nA value of another line is not continued without brackets. See https://toml.io.",
            ),
            Self::UnknownKey => (
                "unknown key",
                "Nothing reads this key. A misspelt key would otherwise be a setting that silently does nothing.\nCheck the spelling and the table it stands in; sidecar.toml in the repository shows every key with its default.",
            ),
            Self::WrongType => (
                "wrong type",
                "The key takes another type of value, for example a text in quotes where a list stands.\nsidecar.toml in the repository shows every key with its default.",
            ),
            Self::WrongValue => (
                "wrong value",
                "The value makes no sense for this key. Values carry their unit: 25%, 200/s, 30s, 8GiB; bare numbers are refused,\nas 30 could be seconds or milliseconds. Counts are plain whole numbers.",
            ),
            Self::SetTwice => (
                "set in two files",
                "conf.d/*.toml adds sources and keys; it does not override. Which of two values wins must not depend on a file's name.\nRemove one of the two.",
            ),
            Self::Missing => ("missing key", "The table needs this key, and there is no default that would be right for everybody."),
            Self::Later => (
                "not in this version",
                "The key belongs to a feature that this version of segue does not have. It is refused, because accepting it would look as if it worked.\nRemove it; the rest of the file works without it.",
            ),
            Self::NoListener => (
                "no listener",
                "Both `listen` and `listen_tls` are off, so no app could reach segue. Set one: listen = \"127.0.0.1:8088\".",
            ),
            Self::SameAddress => (
                "one address for two listeners",
                "Two of `listen`, `listen_tls` and `metrics` ask for the same port, and the second could not be opened. Give each its own.",
            ),
            Self::PlainExposed => (
                "plain HTTP beyond this machine",
                "`listen` is for an app beside segue. On an address that other machines reach, events and write keys travel in the clear,\nand everybody on that network can send events. Use 127.0.0.1, or `listen_tls` with certificates.",
            ),
            Self::NoCertificates => (
                "TLS without certificates",
                "`listen_tls` is on, but there is no certificate to show. `segue certs init` makes a local CA and a leaf in the directory of [tls];\nor set mode = \"files\" with `cert` and `key`, or listen_tls = \"\".",
            ),
            Self::UnreadableFile => {
                ("file cannot be read", "A PEM file that the configuration names does not exist or is not readable by segue's user.")
            }
            Self::JournalSize => (
                "journal too small",
                "The journal is made of volumes, and works with at least four: one being written, one prepared, one draining, one kept in reserve for a full disk.\nA volume must hold the largest body that a client may send. Raise `size_max` or lower `volume_size`.",
            ),
            Self::JournalDir => (
                "journal directory not writable",
                "segue answers 200 only for what is on disk, so it needs a directory of its own to write to.\nMake it and give it to segue's user, or name another: [journal] dir.",
            ),
            Self::NoSource => (
                "no source",
                "Without a [[source]], every write key is unknown: requests are relayed live to Segment and nothing is kept or copied.",
            ),
            Self::BadId => (
                "not an id",
                "A source's id is what its records, cursors and counters are filed under, so it is made of 1 to 64 letters, digits, '-', '_' and '.'.\nWithout `id`, the name is the id. The id must stay the same when the name changes.",
            ),
            Self::SameSource => (
                "two sources with one name or id",
                "Records and counters are filed under the id and shown under the name. Two sources with one of them could not be told apart.",
            ),
            Self::SameKey => (
                "two sources with one Segment key",
                "The write key is how segue knows whose an event is. With two owners the route of the event would be a matter of luck.",
            ),
            Self::BadRoute => (
                "not a route",
                "A route is segment-only, shadow=25% (copies for 25% of people), both, cutover=25% (25% of people moved) or rudderstack-only;\nor two shares, { segment = \"75%\", rudderstack = \"50%\" }, that make 100% or more together: less would leave events without a destination.",
            ),
            Self::NoRudderKey => (
                "no RudderStack key",
                "The source's route sends events to RudderStack, which knows a source by its own write key.\nCopy it from RudderStack > Sources > (source) > Setup and set `rudderstack_write_key`.",
            ),
            Self::NoRudderUrl => (
                "no RudderStack data plane",
                "A source's route sends events to RudderStack, but segue was not told where that is.\nSet [rudderstack] url to the data plane of your RudderStack workspace.",
            ),
            Self::NoVariable => (
                "environment variable not set",
                "A key is taken from an environment variable that is not set, or is empty, in segue's own environment.\nUnder systemd that is Environment= or EnvironmentFile= of the unit; in a pod, `env` of the sidecar's container, not of the app's.",
            ),
            Self::NoKeyFile => (
                "key file cannot be read",
                "A key is taken from a file that does not exist, is not readable by segue's user, or is larger than 4 KiB.",
            ),
            Self::OpenKeyFile => (
                "key file readable by others",
                "Other users of this machine can read the key. Make it 0600, or 0640 when root owns it and segue's user is in its group.\nSymbolic links (as Kubernetes mounts secrets), /run/secrets and $CREDENTIALS_DIRECTORY are not checked; mounts with subPath want defaultMode: 0400.",
            ),
            Self::BadKey => (
                "not a write key",
                "A write key is one word of printable ASCII without ':' (it travels as the user name of Basic auth). This text is empty, has a blank in it, or is a placeholder.\nThe key itself is not shown.",
            ),
            Self::BadUrl => (
                "not an upstream's URL",
                "An upstream is a scheme, a host and maybe a port and a path: https://acme.dataplane.rudderstack.com. User names, queries and fragments do not belong in it;\nkeys are set per source.",
            ),
            Self::PlainUrl => (
                "events in the clear",
                "The URL of an upstream starts with http:// and names another machine: events and write keys would cross the network in the clear. Use https://.",
            ),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("SG{:04}", self.number()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads `SG0103`, in any case, with or without the letters and the leading zero.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let digits = text.trim_start_matches(['s', 'S']).trim_start_matches(['g', 'G']);
        let number = digits.parse::<u16>().ok();
        Self::ALL.into_iter().find(|code| Some(code.number()) == number).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_read_back() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
            assert!(!code.title().ends_with('.') && code.explanation().ends_with('.'), "{code}");
        }
        assert_eq!("sg103".parse(), Ok(Code::UnknownKey));
        assert!("SG9999".parse::<Code>().is_err_and(|e| e.to_string().contains("SG9999")));
    }
}
