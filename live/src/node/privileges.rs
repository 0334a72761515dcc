//! What a node may do: administer its network and open raw sockets, and after its start not even that.
//!
//! At first everything but CAP_NET_ADMIN and CAP_NET_RAW goes, for good: out of the bounding set, and with
//! PR_SET_NO_NEW_PRIVS no program can bring it back. Each thread has sets of its own. Once the devices are open every
//! thread drops the two as well, except the one that leads a POP's VIPs to its device, which keeps CAP_NET_ADMIN.
//! Reference: capabilities(7).

use std::collections::HashSet;

use anyhow::{Context, Result};
use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::unistd::{User, geteuid, setgid, setgroups, setuid};

use crate::lab::refused::refuse;

/// What a node needs to open its devices.
const OF_A_NODE: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Keeps what a node needs and no more, as `user` if one is named. To be called before there is a second thread.
///
/// # Errors
/// When there is no such user, or the kernel refuses.
pub(super) fn keep_those_of_a_node(user: Option<&str>) -> Result<()> {
    let permitted = caps::read(None, CapSet::Permitted).context("cannot see the capabilities")?;
    let wanted: HashSet<Capability> = OF_A_NODE.into_iter().collect();
    let kept: HashSet<Capability> = permitted.intersection(&wanted).copied().collect();
    let missing: Vec<String> = wanted.difference(&kept).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!(
            event = "CapabilitiesMissing",
            missing,
            "see `anyedge doctor`"
        );
    }
    for capability in caps::runtime::thread_all_supported() {
        // Whoever may not shrink the set has nothing to lose by it: no new privileges come from here on.
        if !wanted.contains(&capability) && caps::drop(None, CapSet::Bounding, capability).is_err()
        {
            break;
        }
    }
    if let Some(name) = user {
        become_user(name, &kept)?;
    }
    set_all(&kept).context("cannot drop capabilities")?;
    prctl::set_no_new_privs().context("cannot give up new privileges")
}

/// Drops everything in the calling thread, and in those that it starts from here on.
pub(super) fn drop_in_this_thread() {
    keep_in_this_thread(&[]);
}

/// Drops everything but `kept` in the calling thread.
pub(super) fn keep_in_this_thread(kept: &[Capability]) {
    let permitted = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let kept = kept.iter().copied();
    let kept = kept.filter(|capability| permitted.contains(capability));
    if let Err(error) = set_all(&kept.collect()) {
        // To have fewer rights needs none.
        tracing::error!(event = "CapabilitiesKept", %error);
    }
}

fn set_all(kept: &HashSet<Capability>) -> Result<(), caps::errors::CapsError> {
    caps::set(None, CapSet::Effective, kept)?;
    caps::set(None, CapSet::Permitted, kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Ambient).or_else(|error| {
        // Before Linux 4.3 there is no such set.
        tracing::debug!(%error);
        Ok(())
    })
}

/// Becomes `name`, and takes `kept` along.
fn become_user(name: &str, kept: &HashSet<Capability>) -> Result<()> {
    let found = User::from_name(name).with_context(|| format!("cannot look for user `{name}`"))?;
    let Some(user) = found else {
        refuse!("--user {name}: there is no such user");
    };
    if user.uid == geteuid() {
        return Ok(());
    }
    prctl::set_keepcaps(true).context("cannot keep capabilities")?;
    let change = || -> nix::Result<()> {
        setgroups(&[user.gid])?;
        setgid(user.gid)?;
        setuid(user.uid)
    };
    change().with_context(|| format!("cannot become user `{name}`"))?;
    prctl::set_keepcaps(false).context("cannot let go of kept capabilities")?;
    // The change of user has emptied the set that counts.
    caps::set(None, CapSet::Effective, kept).context("cannot keep the capabilities of a node")
}
