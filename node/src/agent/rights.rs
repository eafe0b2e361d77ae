//! Who may use the control socket: the node's own user and root operate, a group may use.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::router::{Authorize, Peer, Rights};

/// The rule for this node; `client_group` is the system group of `clientgroup.cfg`.
pub(super) fn authorize(client_group: Option<&str>) -> Authorize {
    let own = Uid::effective().as_raw();
    let group = client_group.and_then(|name| Group::from_name(name).ok().flatten());
    if let (Some(name), None) = (client_group, &group) {
        tracing::warn!(
            group = name,
            "`clientgroup.cfg` names no group of this system"
        );
    }
    let group = group.map(|group| group.gid);
    Box::new(move |peer: Peer| {
        if peer.uid == own || peer.uid == 0 {
            return Some(Rights::Operate);
        }
        group
            .filter(|group| is_member(peer, *group))
            .map(|_| Rights::Use)
    })
}

fn is_member(peer: Peer, group: Gid) -> bool {
    if peer.gid == group.as_raw() {
        return true;
    }
    let user = User::from_uid(Uid::from_raw(peer.uid)).ok().flatten();
    let name = user.and_then(|user| CString::new(user.name).ok());
    let groups = name.and_then(|name| getgrouplist(&name, Gid::from_raw(peer.gid)).ok());
    groups.is_some_and(|groups| groups.contains(&group))
}
