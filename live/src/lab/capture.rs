//! What is on the wires of a lab, as a pcapng file: every end of them is an interface of the file, with its own name.
//!
//! Each end is watched for what comes in, so that a packet stands in the file once, where it arrived; one that got lost on
//! the way to an end does not. The file ([pcapng](crate::pcapng)) is bounded in time and in packets.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd as _;

use super::exec::open_node;
use super::name::LabName;
use super::refused::refuse;
use super::state::{LabState, WireState};
use crate::packet_socket::PacketSocket;
use crate::pcapng::{Capture, PACKET_BYTES_MAX};

/// Packets taken from one end before the others get their turn.
const BURST_MAX: usize = 64;

/// What to capture, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturePlan<'a> {
    /// A node (all of its wires), or one of its interfaces as `pop.tokyo:ccn0`.
    pub of: &'a str,
    /// The file to write.
    pub out: &'a Path,
    /// The end of it.
    pub time: Duration,
    /// The end of it, if that comes earlier.
    pub packets_max: u64,
}

/// One end that is watched.
struct Watched {
    socket: PacketSocket,
    name: String,
}

/// Writes what comes by; gives how many packets that were.
///
/// # Errors
/// When there is no such node or wire, or the file cannot be written.
pub fn capture(lab: &LabName, plan: &CapturePlan<'_>) -> Result<u64> {
    let ends = watch(lab, plan.of)?;
    let file = File::create(plan.out);
    let file = file.with_context(|| format!("cannot write {}", plan.out.display()))?;
    let writer = Capture::begin(BufWriter::new(file));
    let mut writer = writer.context("cannot begin the capture")?;
    for end in &ends {
        let begun = writer.interface(&end.name);
        begun.context("cannot begin the capture")?;
    }
    let over = Instant::now() + plan.time;
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let mut count = 0;
    while count < plan.packets_max {
        let left = over.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        for index in wait(&ends, left)? {
            for _ in 0..BURST_MAX {
                let read = ends[index].socket.recv(&mut buffer);
                let Some(len) = read.context("cannot read from a wire")? else {
                    break;
                };
                if count < plan.packets_max {
                    let written = writer.packet(index as u32, now(), &buffer[..len], None);
                    written.with_context(|| format!("cannot write {}", plan.out.display()))?;
                    count += 1;
                }
            }
        }
    }
    Ok(count)
}

fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// Both ends of each wire that is meant.
fn watch(lab: &LabName, of: &str) -> Result<Vec<Watched>> {
    let Some(state) = LabState::read(lab)? else {
        refuse!("no lab `{lab}` is up");
    };
    let is_meant = |wire: &&WireState| {
        let mut ends = wire.ends.iter();
        ends.any(|(node, interface)| node == of || format!("{node}:{interface}") == of)
    };
    let wires: Vec<&WireState> = state.wires.iter().filter(is_meant).collect();
    if wires.is_empty() {
        let ends = state.wires.iter().flat_map(|wire| &wire.ends);
        let ends: Vec<String> = ends.map(|(node, own)| format!("{node}:{own}")).collect();
        refuse!(
            "`{of}` is no node or interface of the lab; there are {}",
            ends.join(", ")
        );
    }
    let mut watched = Vec::new();
    for (node, interface) in wires.iter().flat_map(|wire| &wire.ends) {
        let namespace = open_node(lab, node)?;
        watched.push(Watched {
            socket: namespace.run(|| PacketSocket::open(interface))?,
            name: format!("{node}:{interface}"),
        });
    }
    Ok(watched)
}

/// The ends at which something waits.
fn wait(ends: &[Watched], left: Duration) -> Result<Vec<usize>> {
    let fds = ends
        .iter()
        .map(|end| PollFd::new(end.socket.as_fd(), PollFlags::POLLIN));
    let mut fds: Vec<PollFd<'_>> = fds.collect();
    // A wait for less than a millisecond is one for none.
    let wait = left.max(Duration::from_millis(1));
    match poll(
        &mut fds,
        PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX),
    ) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error).context("cannot wait for packets"),
    }
    let ready = fds
        .iter()
        .enumerate()
        .filter(|(_, fd)| fd.any() == Some(true));
    Ok(ready.map(|(index, _)| index).collect())
}
