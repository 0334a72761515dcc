//! Orders to the process that works at a lab's wires: which links go down, get worse or are restored, and what they count.
//!
//! One JSON line each way, on a Unix socket in the lab's folder. Who may call is settled as for control sockets
//! ([`crate::control`]). An order holds for all links that it names, or, when one of them is not there, for none.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyedge_net::link::{Change, GilbertElliott, Loss};
use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::modelled::WIRES;
use super::name::LabName;
use super::refused::refuse;
use super::state::control_of;
use crate::control::{ControlSocket, EXCHANGE_MAX};

/// The longest order, in bytes.
const ORDER_BYTES_MAX: u64 = 1 << 20;
/// The longest answer, in bytes.
const REPLY_BYTES_MAX: u64 = 16 << 20;
/// How often who waits for callers looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the caller waits: wires that are busy come to an order a little later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Orders that wait for the wires.
const WAITING_MAX: usize = 16;

/// What to do with links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names with their direction, `pop.tokyo>region.guangzhou`; none: all of them.
    pub links: Vec<String>,
    /// What happens to them.
    pub act: Act,
}

/// What happens to a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// It carries nothing.
    Down,
    /// It carries again.
    Up,
    /// It gets worse.
    Worse(Worse),
    /// It is what it was before it got worse.
    Restore,
    /// Nothing; it is only told of.
    Tell,
}

/// A [`Change`] as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worse {
    loss: Option<LossTold>,
    delay: Option<Duration>,
    jitter: Option<Duration>,
    rate_bps: Option<u64>,
    reorder_ppm: Option<u32>,
    duplicate_ppm: Option<u32>,
    corrupt_ppm: Option<u32>,
    mtu: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum LossTold {
    Share(u32),
    /// Good to bad, bad to good, loss in the bad state, loss in the good one.
    Bursts([u32; 4]),
}

impl From<&Change> for Worse {
    fn from(change: &Change) -> Worse {
        let told = |loss| match loss {
            Loss::Share(ppm) => LossTold::Share(ppm),
            Loss::GilbertElliott(chances) => LossTold::Bursts([
                chances.good_to_bad_ppm,
                chances.bad_to_good_ppm,
                chances.loss_bad_ppm,
                chances.loss_good_ppm,
            ]),
        };
        Worse {
            loss: change.loss.map(told),
            delay: change.delay,
            jitter: change.jitter,
            rate_bps: change.rate_bps,
            reorder_ppm: change.reorder_ppm,
            duplicate_ppm: change.duplicate_ppm,
            corrupt_ppm: change.corrupt_ppm,
            mtu: change.mtu,
        }
    }
}

impl From<&Worse> for Change {
    fn from(worse: &Worse) -> Change {
        let told = |loss: &LossTold| match *loss {
            LossTold::Share(ppm) => Loss::Share(ppm),
            LossTold::Bursts(
                [
                    good_to_bad_ppm,
                    bad_to_good_ppm,
                    loss_bad_ppm,
                    loss_good_ppm,
                ],
            ) => Loss::GilbertElliott(GilbertElliott {
                good_to_bad_ppm,
                bad_to_good_ppm,
                loss_bad_ppm,
                loss_good_ppm,
            }),
        };
        Change {
            loss: worse.loss.as_ref().map(told),
            delay: worse.delay,
            jitter: worse.jitter,
            rate_bps: worse.rate_bps,
            reorder_ppm: worse.reorder_ppm,
            duplicate_ppm: worse.duplicate_ppm,
            corrupt_ppm: worse.corrupt_ppm,
            mtu: worse.mtu,
        }
    }
}

/// How one direction of a link is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkTold {
    /// Its name: `pop.tokyo>region.guangzhou`.
    pub name: String,
    /// It carries.
    pub up: bool,
    /// It got worse and was not restored.
    pub worse: bool,
    /// Packets that arrived.
    pub delivered: u64,
    /// Packets that it lost, by cause.
    pub dropped: BTreeMap<String, u64>,
}

/// The answer to an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The links that were named, as they are then.
    pub links: Vec<LinkTold>,
    /// Frames that no link lost: without a way, to somebody unknown, and for want of room.
    pub lost: [u64; 3],
    /// Why nothing was done.
    pub refused: Option<String>,
}

/// An order, and where its answer goes.
pub(crate) type Waiting = (Order, SyncSender<Told>);

/// Takes orders until `stop`, and hands each to whoever works at the wires.
pub(crate) fn take(lab: &LabName, to: &SyncSender<Waiting>, stop: &AtomicBool) -> Result<()> {
    let socket = ControlSocket::bind(&socket_of(lab))?;
    let timeout = PollTimeout::try_from(LOOK_EVERY).unwrap_or(PollTimeout::MAX);
    while !stop.load(Ordering::Relaxed) {
        match poll(
            &mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)],
            timeout,
        ) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for orders"),
        }
        let Some(caller) = socket.accept_known()? else {
            continue;
        };
        if let Err(error) = hand_on(&caller, to) {
            tracing::debug!("an order came to nothing: {error:#}");
        }
    }
    Ok(())
}

/// Room for orders that wait.
pub(crate) fn queue() -> (SyncSender<Waiting>, std::sync::mpsc::Receiver<Waiting>) {
    sync_channel(WAITING_MAX)
}

fn hand_on(mut caller: &UnixStream, to: &SyncSender<Waiting>) -> Result<()> {
    let mut line = String::new();
    let read = BufReader::new(caller.take(ORDER_BYTES_MAX)).read_line(&mut line);
    read.context("it was not read")?;
    let order: Order = serde_json::from_str(&line).context("it was not understood")?;
    let (sender, answer) = sync_channel(1);
    if to.try_send((order, sender)).is_err() {
        bail!("too many wait");
    }
    let told = answer.recv_timeout(EXCHANGE_MAX).context("no answer")?;
    let line = serde_json::to_string(&told).context("its answer is no JSON")?;
    caller.write_all(line.as_bytes()).context("its caller left")
}

fn socket_of(lab: &LabName) -> PathBuf {
    control_of(lab, &format!("{WIRES}.orders"))
}

/// Whether the lab's wires have the file's links, so that somebody takes orders.
pub fn are_taken(lab: &LabName) -> bool {
    socket_of(lab).exists()
}

/// Gives the wires of a lab an order, and waits until it is in force.
///
/// # Errors
/// When nobody takes it, or it names a link that is not there.
pub fn give(lab: &LabName, order: &Order) -> Result<Told> {
    let told = ask(&socket_of(lab), order).context("the process at the lab's wires")?;
    if let Some(reason) = told.refused {
        refuse!("{reason}");
    }
    Ok(told)
}

fn ask(socket: &Path, order: &Order) -> Result<Told> {
    let mut caller = UnixStream::connect(socket).context("does not listen")?;
    let bounded = caller.set_read_timeout(Some(PATIENCE));
    bounded.context("cannot be asked for a bounded time")?;
    let line = serde_json::to_string(order).context("the order is no JSON")? + "\n";
    caller.write_all(line.as_bytes()).context("does not read")?;
    let mut answer = String::new();
    let read = caller.take(REPLY_BYTES_MAX).read_to_string(&mut answer);
    read.context("does not answer")?;
    serde_json::from_str(&answer).context("gives no answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_a_link_worse_reads_back_as_it_was_written() {
        let bursts = Loss::GilbertElliott(GilbertElliott {
            good_to_bad_ppm: 1,
            bad_to_good_ppm: 2,
            loss_bad_ppm: 3,
            loss_good_ppm: 4,
        });
        for loss in [Loss::Share(7), bursts] {
            let change = Change {
                loss: Some(loss),
                delay: Some(Duration::from_nanos(5)),
                mtu: Some(1_400),
                ..Change::default()
            };
            let act = Act::Worse(Worse::from(&change));
            let text = serde_json::to_string(&act).expect("plain data");
            let Act::Worse(read) = serde_json::from_str(&text).expect("what was written") else {
                panic!("{text}");
            };
            assert_eq!(Change::from(&read), change);
        }
    }
}
