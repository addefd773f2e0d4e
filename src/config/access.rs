//! Who may use the admin API besides its own user and root.

use super::{
    Code, ControlPlace,
    section::Section,
    session::Session,
    value::{Fault, Text, Texts},
};

/// Groups of this machine's users, by name. The default: nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Its members reach the socket, and may look. None: nobody but the sidecar's own user and root does.
    pub group: Option<String>,
    /// Of those who reach it, members of these may change things.
    pub operate: Vec<String>,
    /// Of those who reach it, members of these may see values unmasked.
    pub reveal: Vec<String>,
}

/// Reads the groups of `[admin]`.
pub(super) fn read(session: &mut Session<'_>, section: &mut Section, socket: &ControlPlace) -> Access {
    let (Text(group), at) = section.placed(session, "group", Text(None));
    if group.is_some() && *socket == ControlPlace::InDataDirectory {
        let fault = Fault::value(
            "opens a socket that stands in the data directory, which is closed to others",
            "give the socket a place of its own: socket = \"/run/segue/admin.sock\"",
        );
        section.refuse(session, "group", &at, fault);
    }
    let [operate, reveal] = ["operate", "reveal"].map(|name| {
        let (Texts(groups), at) = section.placed(session, name, Texts(Vec::new()));
        if group.is_none() && !groups.is_empty() {
            let what = format!("`{}` gives a role to users who do not reach the socket", section.key(name));
            session.error(&at, Code::Missing, what, "say who does: group = \"segue\"");
        }
        groups
    });
    Access { group, operate, reveal }
}
