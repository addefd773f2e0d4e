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
    /// A journal's directory that others can get at.
    JournalExposed,
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
    /// A configuration with keys in it that others can read.
    OpenConfig,
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
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.code)
    }

    /// The number behind `SG`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.row().number
    }

    /// What the problem is, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// What it means and what to do, in a few lines.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        self.row().explanation
    }

    /// The table is in the order of the variants, as a test holds.
    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
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
        Self::all().find(|code| Some(code.number()) == number).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

/// All that is known of one code.
struct Row {
    code: Code,
    number: u16,
    title: &'static str,
    explanation: &'static str,
}

const fn row(code: Code, number: u16, title: &'static str, explanation: &'static str) -> Row {
    Row { code, number, title, explanation }
}

/// Every code.
const TABLE: [Row; 30] = [
    row(
        Code::NoFile,
        101,
        "no configuration file",
        "segue reads the file of --config, else $SEGUE_CONFIG, else ./sidecar.toml, else /etc/segue/sidecar.toml,\n\
         and then every conf.d/*.toml beside it. `segue config init` writes a first one.\n\
         The file must be readable by segue's user and not be larger than 1 MiB.",
    ),
    row(
        Code::Syntax,
        102,
        "not TOML",
        "The file breaks TOML's own rules, so none of it was read. Texts stand in quotes, also those with a unit: size_max = \"8GiB\".\n\
         A value ends with its line, unless it stands in brackets. See https://toml.io.",
    ),
    row(
        Code::UnknownKey,
        103,
        "unknown key",
        "Nothing reads this key. A misspelt key would otherwise be a setting that silently does nothing.\n\
         Check the spelling and the table it stands in; sidecar.toml in the repository shows every key with its default.",
    ),
    row(
        Code::WrongType,
        104,
        "wrong type",
        "The key takes another type of value, for example a text in quotes where a list stands.\n\
         sidecar.toml in the repository shows every key with its default.",
    ),
    row(
        Code::WrongValue,
        105,
        "wrong value",
        "The value makes no sense for this key. Values carry their unit: 25%, 200/s, 30s, 8GiB; bare numbers are refused,\n\
         as 30 could be seconds or milliseconds. Counts are plain whole numbers.",
    ),
    row(
        Code::SetTwice,
        106,
        "set in two files",
        "conf.d/*.toml adds sources and keys; it does not override. Which of two values wins must not depend on a file's name.\n\
         Remove one of the two.",
    ),
    row(Code::Missing, 107, "missing key", "The table needs this key, and there is no default that would be right for everybody."),
    row(
        Code::Later,
        108,
        "not in this version",
        "The key belongs to a feature that this version of segue does not have. It is refused, because accepting it would look as if it worked.\n\
         Remove it; the rest of the file works without it.",
    ),
    row(
        Code::NoListener,
        110,
        "no listener",
        "Both `listen` and `listen_tls` are off, so no app could reach segue. Set one: listen = \"127.0.0.1:8088\".",
    ),
    row(
        Code::SameAddress,
        111,
        "one address for two listeners",
        "Two of `listen`, `listen_tls` and `metrics` ask for the same port, and the second could not be opened. Give each its own.",
    ),
    row(
        Code::PlainExposed,
        112,
        "plain HTTP beyond this machine",
        "`listen` is for an app beside segue. On an address that other machines reach, events and write keys travel in the clear,\n\
         and everybody on that network can send events. Use 127.0.0.1, or `listen_tls` with certificates.",
    ),
    row(
        Code::NoCertificates,
        120,
        "TLS without certificates",
        "`listen_tls` is on, but there is no certificate to show. `segue certs init` makes a local CA and a leaf in the directory of [tls];\n\
         or set mode = \"files\" with `cert` and `key`, or listen_tls = \"\".",
    ),
    row(
        Code::UnreadableFile,
        121,
        "file cannot be read",
        "A PEM file that the configuration names does not exist or is not readable by segue's user.",
    ),
    row(
        Code::JournalSize,
        130,
        "journal too small",
        "The journal is made of volumes, and works with at least four: one being written, one prepared, one draining, one kept in reserve for a full disk.\n\
         A volume must hold the largest body that a client may send. Raise `size_max` or lower `volume_size`.",
    ),
    row(
        Code::JournalDir,
        131,
        "journal directory not writable",
        "segue answers 200 only for what is on disk, so it needs a directory of its own to write to.\n\
         Make it and give it to segue's user, or name another: [journal] dir.",
    ),
    row(
        Code::JournalExposed,
        135,
        "journal directory open to others",
        "The journal holds what clients sent, with their Segment write keys. A directory or file of segue's own that other users can read, change or\n\
         replace is refused: chmod -R go= DIR. A directory that root mounted for segue (an emptyDir, or a volume with fsGroup) is only told about;\n\
         name a directory inside of it as [journal] dir, and segue makes that for itself alone.",
    ),
    row(
        Code::NoSource,
        140,
        "no source",
        "Without a [[source]], every write key is unknown: requests are relayed live to Segment and nothing is kept or copied.",
    ),
    row(
        Code::BadId,
        141,
        "not an id",
        "A source's id is what its records, cursors and counters are filed under, so it is made of 1 to 64 letters, digits, '-', '_' and '.'.\n\
         Without `id`, the name is the id. The id must stay the same when the name changes.",
    ),
    row(
        Code::SameSource,
        142,
        "two sources with one name or id",
        "Records and counters are filed under the id and shown under the name. Two sources with one of them could not be told apart.",
    ),
    row(
        Code::SameKey,
        143,
        "two sources with one Segment key",
        "The write key is how segue knows whose an event is. With two owners the route of the event would be a matter of luck.",
    ),
    row(
        Code::BadRoute,
        144,
        "not a route",
        "A route is segment-only, shadow=25% (copies for 25% of people), both, cutover=25% (25% of people moved) or rudderstack-only;\n\
         or two shares, { segment = \"75%\", rudderstack = \"50%\" }, that make 100% or more together: less would leave events without a destination.",
    ),
    row(
        Code::NoRudderKey,
        145,
        "no RudderStack key",
        "The source's route sends events to RudderStack, which knows a source by its own write key.\n\
         Copy it from RudderStack > Sources > (source) > Setup and set `rudderstack_write_key`.",
    ),
    row(
        Code::NoRudderUrl,
        146,
        "no RudderStack data plane",
        "A source's route sends events to RudderStack, but segue was not told where that is.\n\
         Set [rudderstack] url to the data plane of your RudderStack workspace.",
    ),
    row(
        Code::NoVariable,
        150,
        "environment variable not set",
        "A key is taken from an environment variable that is not set, or is empty, in segue's own environment.\n\
         Under systemd that is Environment= or EnvironmentFile= of the unit; in a pod, `env` of the sidecar's container, not of the app's.",
    ),
    row(
        Code::NoKeyFile,
        151,
        "key file cannot be read",
        "A key is taken from a file that does not exist, is not readable by segue's user, or is larger than 4 KiB.",
    ),
    row(
        Code::OpenKeyFile,
        152,
        "key file readable by others",
        "Other users of this machine can read or change the key. Make it 0600, or 0640 when root owns it and segue's user is in its group.\n\
         Behind a symbolic link (as Kubernetes mounts secrets) it is only a warning; set defaultMode: 0400, or 0440 with fsGroup. Files below\n\
         /run/secrets and $CREDENTIALS_DIRECTORY are not checked.",
    ),
    row(
        Code::BadKey,
        153,
        "not a write key",
        "A write key is one word of printable ASCII without ':' (it travels as the user name of Basic auth). This text is empty, has a blank in it, or is a placeholder.\n\
         The key itself is not shown.",
    ),
    row(
        Code::OpenConfig,
        154,
        "configuration with keys readable by others",
        "A write key stands in the file itself, and other users of this machine can read the file: chmod 600 it, or take the key from\n\
         { env = \"NAME\" } or { file = \"/path\" }.",
    ),
    row(
        Code::BadUrl,
        160,
        "not an upstream's URL",
        "An upstream is a scheme, a host and maybe a port and a path: https://acme.dataplane.rudderstack.com. User names, queries and fragments do not belong in it;\n\
         keys are set per source.",
    ),
    row(
        Code::PlainUrl,
        161,
        "events in the clear",
        "The URL of an upstream starts with http:// and names another machine: events and write keys would cross the network in the clear. Use https://.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_read_back() {
        let codes: Vec<Code> = Code::all().collect();
        assert!(codes.is_sorted_by(|a, b| a.number() < b.number()));
        for (index, code) in codes.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code}");
            assert_eq!(code.to_string().parse(), Ok(code));
            assert!(!code.title().ends_with('.') && code.explanation().ends_with('.'), "{code}");
        }
        assert_eq!("sg103".parse(), Ok(Code::UnknownKey));
        assert!("SG9999".parse::<Code>().is_err_and(|e| e.to_string().contains("SG9999")));
    }
}
