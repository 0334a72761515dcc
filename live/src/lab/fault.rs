//! Faults in a lab: a process that crashes and comes back, or hangs for a while; a link that goes down or gets worse.
//!
//! A crash is `kill -9`, and a start by the same command line when its time is over; a hang is SIGSTOP, and SIGCONT then.
//! Links are [`links`]' affair, and the faults of a topology's file [`scenario`]'s. [`clear`] ends whatever faults there
//! are, also those of a command that was interrupted; what controllers were ordered stays.

mod bare;
pub mod links;
mod orders;
pub mod scenario;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;

use anyedge_topologies::Topology;

use self::links::{LinkFault, Stretch};
use super::modelled::WIRES;
use super::name::LabName;
use super::process;
use super::refused::refuse;
use super::state::{LabState, ProcessState};
use crate::netns::Namespace;

/// What befalls a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is killed, and started again afterwards.
    Crash,
    /// It is stopped, and goes on afterwards.
    Hang,
}

/// Has `fault` befall the process `name` for `time`. Blocks as long.
///
/// # Errors
/// When there is no such process in the lab, or it cannot be started again.
pub fn strike(lab: &LabName, fault: Fault, name: &str, time: Duration) -> Result<()> {
    let state = read(lab)?;
    let process = find(&state, name)?.process;
    if !process.is_alive() {
        refuse!("`{name}` does not run; anyedge lab fault --name {lab} clear starts it again");
    }
    let signal = match fault {
        Fault::Crash => Signal::SIGKILL,
        Fault::Hang => Signal::SIGSTOP,
    };
    process.signal(signal)?;
    std::thread::sleep(time);
    match fault {
        Fault::Crash => {
            process.await_end()?;
            start_again(lab, name)
        }
        Fault::Hang => process.signal(Signal::SIGCONT),
    }
}

/// Has `fault` befall a link of the lab for `time`, and blocks as long; without a time it stays until [`clear`].
///
/// # Errors
/// [`Refused`](super::refused::Refused) when there is no such link, or its wire cannot do that.
pub fn strike_link(
    lab: &LabName,
    (name, from): (&str, Option<&str>),
    fault: &LinkFault,
    time: Option<Duration>,
) -> Result<()> {
    let topology = topology_of(&read(lab)?)?;
    let stretch = Stretch::find(&topology, name, from)?;
    links::begin(lab, &topology, &stretch, fault)?;
    let Some(time) = time else {
        return Ok(());
    };
    std::thread::sleep(time);
    links::end(lab, &topology, &stretch, fault)
}

/// Starts every process that has ended, and has those that were stopped go on; gives the names of the former. Links are
/// what the file says again.
///
/// # Errors
/// When one cannot be started.
pub fn clear(lab: &LabName) -> Result<Vec<String>> {
    let state = read(lab)?;
    let mut started = Vec::new();
    for process in state.processes() {
        if process.process.is_alive() {
            process.process.signal(Signal::SIGCONT)?;
        } else {
            start_again(lab, &process.name)?;
            started.push(process.name.clone());
        }
    }
    let are_new = started.iter().any(|name| name == WIRES);
    links::end_all(lab, &topology_of(&state)?, are_new)?;
    Ok(started)
}

fn read(lab: &LabName) -> Result<LabState> {
    let Some(state) = LabState::read(lab)? else {
        refuse!("no lab `{lab}` is up");
    };
    Ok(state)
}

/// The file that the lab was made of, as it was told then.
pub(super) fn topology_of(state: &LabState) -> Result<Topology> {
    let read = Topology::load_with(&state.topology, &state.overrides);
    read.map_err(|mistakes| {
        let first = mistakes
            .first()
            .map_or_else(String::new, ToString::to_string);
        anyhow!("the lab's file is no longer what it was: {first}")
    })
}

fn find<'a>(state: &'a LabState, name: &str) -> Result<&'a ProcessState> {
    let Some(found) = state.processes().find(|process| process.name == name) else {
        let names: Vec<&str> = state.processes().map(|process| &*process.name).collect();
        refuse!(
            "the lab `{}` has no process `{name}`; it has {}",
            state.lab,
            names.join(", ")
        );
    };
    Ok(found)
}

/// Starts a process by its own command line, and remembers its new number.
fn start_again(lab: &LabName, name: &str) -> Result<()> {
    // Read anew: others may have changed it while a fault lasted.
    let mut state = read(lab)?;
    let nodes = state.nodes.iter_mut();
    for node in nodes {
        let Some(own) = node.processes.iter_mut().find(|own| own.name == name) else {
            continue;
        };
        if own.process.is_alive() {
            return Ok(());
        }
        let namespace = Namespace::open(&node.namespace)?;
        let itself = std::env::current_exe().context("cannot find this program's own file")?;
        let program: PathBuf = own.program.clone().unwrap_or(itself);
        own.process = process::start(&namespace, &program, &own.arguments, &own.log)?;
        return state.write();
    }
    refuse!("the lab `{lab}` has no process `{name}`")
}
