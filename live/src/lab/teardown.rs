//! Takes a lab down, whole or half-built, and leaves nothing behind: processes, namespaces with their links, folder.
//!
//! Two sources say what there is: the state file, and the names of the namespaces with whoever lives in them. Either
//! alone is enough, so a lab whose `up` was killed half-way or whose file was lost goes the same way. Doing it twice
//! is no error.

use std::collections::BTreeSet;

use anyhow::Result;

use super::name::LabName;
use super::process::{self, ProcessId};
use super::state::{self, LabState};
use crate::netns::{self, Namespace};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Processes that were still alive.
    pub processes: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Whether the lab's folder stood.
    pub folder: bool,
}

impl Removed {
    /// Whether there was nothing of such a lab.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Removes everything of the lab. Goes on past an error, so that one stubborn piece keeps nothing else alive, and
/// returns the first.
pub fn take_down(lab: &LabName) -> Result<Removed> {
    let mut removed = Removed::default();
    let mut first_error = None;
    let mut note = |error: anyhow::Error| {
        first_error.get_or_insert(error);
    };
    let namespaces = namespaces_of(lab)?;
    let processes = living_processes(lab, &namespaces)?;
    match process::end_all(&processes) {
        Ok(()) => removed.processes = processes.len(),
        Err(error) => note(error),
    }
    for namespace in &namespaces {
        match netns::delete(namespace) {
            Ok(existed) => removed.namespaces += usize::from(existed),
            Err(error) => note(error),
        }
    }
    match state::release(lab) {
        Ok(existed) => removed.folder = existed,
        Err(error) => note(error),
    }
    first_error.map_or(Ok(removed), Err)
}

/// The namespaces that carry the lab's name.
pub fn namespaces_of(lab: &LabName) -> Result<Vec<String>> {
    let mut names = netns::list()?;
    names.retain(|name| lab.node_of(name).is_some());
    Ok(names)
}

fn living_processes(lab: &LabName, namespaces: &[String]) -> Result<Vec<ProcessId>> {
    let ids: BTreeSet<_> = namespaces
        .iter()
        .filter_map(|name| Namespace::open(name).ok())
        .filter_map(|open| open.id().ok())
        .collect();
    let mut processes = process::living_in(&ids)?;
    match LabState::read(lab) {
        Ok(Some(state)) => processes.extend(
            state
                .processes()
                .map(|known| known.process)
                .filter(|known| known.is_alive()),
        ),
        Ok(None) => {}
        Err(error) => tracing::warn!(%lab, "going by the namespaces alone: {error:#}"),
    }
    processes.sort_by_key(|process| process.pid);
    processes.dedup();
    Ok(processes)
}
