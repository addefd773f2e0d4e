//! Who asks, by the system's word, and what that one may do.

use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::UnixStream;

use super::answer::Refusal;
use crate::{
    config::Access,
    model::{Role, Roles},
    wire::ProblemCode,
};

/// A user who reached the socket and may use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) roles: Roles,
}

/// A user who may not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranger {
    /// None: the system does not say.
    pub(super) uid: Option<u32>,
}

impl Caller {
    /// Who is at the other end.
    pub(super) async fn of(stream: &UnixStream, access: &Arc<Access>) -> Result<Self, Stranger> {
        let peer = stream.peer_cred().map_err(|_| Stranger { uid: None })?;
        let (uid, gid) = (peer.uid(), peer.gid());
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Ok(Self { uid, roles: Roles::ALL });
        }
        let stranger = Stranger { uid: Some(uid) };
        if access.group.is_none() {
            return Err(stranger);
        }
        let access = Arc::clone(access);
        // The system may ask a directory service.
        let roles = tokio::task::spawn_blocking(move || roles(uid, gid, &access)).await;
        roles.ok().flatten().map(|roles| Self { uid, roles }).ok_or(stranger)
    }

    /// Lets go on whoever may do that.
    pub(super) fn must(self, role: Role) -> Result<(), Refusal> {
        if self.roles.has(role) {
            return Ok(());
        }
        Err(Refusal::new(
            ProblemCode::Denied,
            format!("user {} may not do that: it takes the role {role}", self.uid),
            format!("Run it as the sidecar's user, or have one of your groups named in [admin] {role} = [...] of the configuration."),
        ))
    }
}

/// The roles of a user, by its groups; None: it is in none that counts. The system let it connect, so it is in the socket's group or
/// stands above the rights of files.
fn roles(uid: u32, gid: u32, access: &Access) -> Option<Roles> {
    let mut groups = vec![Gid::from_raw(gid)];
    if let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid))
        && let Ok(name) = std::ffi::CString::new(user.name)
    {
        groups.extend(getgrouplist(&name, user.gid).unwrap_or_default());
    }
    let is_in = |name: &String| gid_of(name).is_some_and(|gid| groups.contains(&gid));
    let roles = Roles { operate: access.operate.iter().any(is_in), reveal: access.reveal.iter().any(is_in) };
    let may_look = access.group.as_ref().is_some_and(is_in) || roles != Roles::default();
    may_look.then_some(roles)
}

/// The group of that name; None: there is none.
pub(super) fn gid_of(name: &str) -> Option<Gid> {
    Group::from_name(name).ok().flatten().map(|group| group.gid)
}
