//! A host of the world: its transport, where it hangs, and what became of the packets that reached it.
//!
//! Invariant: `received` and `dropped` together count each packet once that the host was handed, but for fragments
//! that still wait in its transport.

use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::Pool;
use anyedge_net::time::Instant;
use anyedge_topologies::DiskFault;

use crate::clock::Clock;
use crate::disk::{DiskSpec, HostDisk};
use crate::internet::PopulationId;
use crate::order::Source;
use crate::stack::{HostStack, Outcome};
use crate::world::LinkId;

/// What a host hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attachment {
    /// A client of this population.
    Client(PopulationId),
    /// The backend beside this node's vSwitch.
    Backend(NodeId),
    /// The management network.
    Managed,
    /// This node's end of a path that is a stream.
    Stream(NodeId, PathId),
    /// The wire between a POP's speakers and its router.
    Peer(LinkId),
}

/// A host: its transport and its accounts.
pub(crate) struct HostEntry {
    pub(crate) stack: HostStack,
    pub(crate) source: Source,
    pub(crate) attachment: Attachment,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) dropped: DropCounts,
    pub(super) touched: bool,
    /// `None` while it runs; else what packets to it are lost as.
    pub(crate) down: Option<DropReason>,
    /// Made when a service first asks for a file.
    pub(crate) disk: Option<HostDisk>,
    pub(crate) disk_spec: DiskSpec,
    /// `None`: it is right.
    pub(crate) clock: Option<Box<Clock>>,
    /// How often it lost its disk.
    pub(crate) wipes: u64,
}

impl HostEntry {
    pub(crate) fn new(stack: HostStack, source: Source, attachment: Attachment) -> HostEntry {
        HostEntry {
            stack,
            source,
            attachment,
            sent: 0,
            received: 0,
            dropped: DropCounts::default(),
            touched: false,
            down: None,
            disk: None,
            disk_spec: DiskSpec::SOLID_STATE,
            clock: None,
            wipes: 0,
        }
    }

    /// The machine stops: what it had is gone, but for what its disk keeps.
    pub(crate) fn crash(&mut self, reason: DropReason, pool: &mut Pool) {
        self.down = Some(reason);
        if let Some(own) = &mut self.disk {
            own.disk.crash();
            own.free_at = Instant::ZERO;
        }
        self.stack.crash(reason, pool);
        self.count_ended();
    }

    /// Its disk gets worse than it was at first.
    pub(super) fn worsen_disk(&mut self, change: &DiskFault) {
        let sound = DiskSpec::SOLID_STATE;
        self.set_disk(DiskSpec {
            capacity_bytes: if change.full { 0 } else { sound.capacity_bytes },
            sync: change.sync.unwrap_or(sound.sync),
            bytes_per_second: change.bytes_per_second.unwrap_or(sound.bytes_per_second),
        });
    }

    /// Its disk is like `spec` from now on.
    pub(super) fn set_disk(&mut self, spec: DiskSpec) {
        self.disk_spec = spec;
        if let Some(own) = &self.disk {
            own.disk.set_spec(spec);
        }
    }

    /// It gets an empty disk.
    pub(super) fn wipe_disk(&mut self) {
        if let Some(own) = &self.disk {
            own.disk.wipe();
        }
        self.wipes += 1;
    }

    /// A packet came and ended so, and with it others may have.
    #[inline]
    pub(super) fn count(&mut self, outcome: Outcome) {
        self.count_one(outcome);
        self.count_ended();
    }

    fn count_one(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.received += 1,
            Outcome::Held => {}
            Outcome::Dropped(reason) => self.dropped.add(reason),
        }
    }

    /// Counts fragments that had waited at the host.
    fn count_ended(&mut self) {
        while let Some(outcome) = self.stack.ended().pop() {
            self.count_one(outcome);
        }
    }
}
