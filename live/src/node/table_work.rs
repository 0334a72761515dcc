//! The thread that makes route tables of the tables that a node comes to, while its data plane goes on forwarding.
//!
//! Only the newest table matters: one that comes while another waits takes its place. Before a table is in force the VIPs
//! that it adds are led to the node's device, and after that those that it takes away are not any more. A table in which
//! the node cannot be what it is is refused and told of; the last one stays.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::table::Table;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::wire::outer::Encap;
use anyhow::Result;

use super::last_table::LastTable;
use super::place::{TunnelAddresses, tunnel_addresses};
use super::standing::Standing;
use super::vip_routes::VipRoutes;
use crate::dataplane::inbox::Inbox;
use crate::dataplane::mouth::Mouth;
use crate::dataplane::moving::Move;
use crate::dataplane::peers::own_paths;

/// Between two tables that are written to the disk: a burst of changes costs one write.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How often a table is tried again whose tunnel addresses the machine has not got yet.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Where tables wait for the thread: one place, and whether it shall end.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Debug, Default)]
struct Waiting {
    table: Option<Table>,
    is_over: bool,
}

impl Slot {
    /// Puts a table there, in the place of one that waits.
    pub(super) fn put(&self, table: Table) {
        self.lock().table = Some(table);
        self.0.1.notify_one();
    }

    /// The table that waits, if one does.
    pub(super) fn take(&self) -> Option<Table> {
        self.lock().table.take()
    }

    /// No table will come any more.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.0.1.notify_one();
    }

    /// The next table, or `None` when `patience` is over.
    fn next(&self, patience: Option<Duration>) -> Next {
        let idle = |waiting: &mut Waiting| waiting.table.is_none() && !waiting.is_over;
        let lock = self.lock();
        let mut waiting = match patience {
            Some(patience) => {
                let waited = self.0.1.wait_timeout_while(lock, patience, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.0.1.wait_while(lock, idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        match waiting.table.take() {
            _ if waiting.is_over => Next::End,
            Some(table) => Next::Table(Box::new(table)),
            None => Next::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread finds in its slot.
enum Next {
    Table(Box<Table>),
    Nothing,
    End,
}

/// What the devices of a node were made for: tables that want others need a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fitting {
    /// Where it takes tunnels over UDP, which may move.
    pub(super) udp: TunnelAddresses,
    /// Where it takes plain GRE, which needs a right that it has given up.
    pub(super) raw: TunnelAddresses,
    /// How many shares its devices are in.
    pub(super) grounds: usize,
    pub(super) has_streams: bool,
    pub(super) has_raw_gre: bool,
    pub(super) packet_bytes_max: usize,
}

impl Fitting {
    /// Why the node's devices cannot carry what `table` wants of `own`.
    fn misfit(&self, table: &RouteTable, own: NodeId) -> Option<&'static str> {
        let raw = tunnel_addresses(table, own, Encap::Gre);
        if self.has_raw_gre && moved(raw, self.raw) != [false; 2] {
            return Some("it moves the address of the node's tunnels in plain GRE");
        }
        let mut paths = own_paths(table, own);
        let misfit = |encap: Encap| encap.is_connection() && !self.has_streams;
        if paths.any(|path| misfit(path.encap)) {
            return Some("it has a path in a stream, and the node was started without any");
        }
        let is_raw = |encap: Encap| encap == Encap::Gre && !self.has_raw_gre;
        if own_paths(table, own).any(|path| is_raw(path.encap)) {
            return Some("it has a path in plain GRE, and the node was started without any");
        }
        let larger = |mtu: u16| usize::from(mtu) > self.packet_bytes_max;
        if own_paths(table, own).any(|path| larger(path.mtu)) {
            return Some("it has a path with larger packets than the node was started for");
        }
        None
    }

    /// Sockets on the addresses that `table` gives the node's tunnels over UDP, for each ground; `None` where they stay.
    ///
    /// # Errors
    /// When the machine has not got them.
    fn moves(&self, table: &RouteTable, own: NodeId) -> Result<Option<Vec<Move>>> {
        let wanted = tunnel_addresses(table, own, Encap::GreUdp);
        let families = moved(wanted, self.udp);
        if families == [false; 2] {
            return Ok(None);
        }
        let v4 = wanted.0.filter(|_| families[0]);
        let v6 = wanted.1.filter(|_| families[1]);
        let mouths = Mouth::open_shared(v4, v6, self.grounds)?.into_iter();
        let moves = mouths.map(|mouth| Move { mouth, families });
        Ok(Some(moves.collect()))
    }
}

/// In which families the `wanted` addresses are others than what a node `has`. One that it needs no more stays.
fn moved(wanted: TunnelAddresses, has: TunnelAddresses) -> [bool; 2] {
    let v4 = wanted.0.is_some() && wanted.0 != has.0;
    [v4, wanted.1.is_some() && wanted.1 != has.1]
}

/// The thread's own.
pub(super) struct TableWork {
    pub(super) name: String,
    pub(super) slot: Slot,
    pub(super) assembler: Assembler,
    pub(super) fitting: Fitting,
    pub(super) inbox: Inbox,
    pub(super) last: Option<LastTable>,
    pub(super) vips: Option<VipRoutes>,
    pub(super) standing: Standing,
    /// Tables are those of files, each made from nothing: no history of changes says what two of them share.
    pub(super) are_files: bool,
}

impl TableWork {
    /// Works until the slot is ended.
    pub(super) fn run(mut self) {
        let mut to_keep: Option<Box<Table>> = None;
        let mut kept_at: Option<Instant> = None;
        // One that waits for an address of the machine's.
        let mut waiting: Option<Box<Table>> = None;
        loop {
            let due = kept_at.map_or(Duration::ZERO, |at| KEEP_EVERY.saturating_sub(at.elapsed()));
            let again = waiting.is_some().then_some(RETRY_EVERY);
            let patience = to_keep.is_some().then_some(due).into_iter().chain(again);
            match self.slot.next(patience.min()) {
                Next::Table(table) => {
                    waiting = self.take(&table).is_err().then(|| table.clone());
                    to_keep = Some(table);
                }
                Next::Nothing => {
                    waiting = waiting.filter(|table| self.take(table).is_err());
                    if let Some(table) = to_keep.take() {
                        self.keep(&table);
                        kept_at = Some(Instant::now());
                    }
                }
                Next::End => break,
            }
        }
        if let Some(table) = to_keep {
            self.keep(&table);
        }
    }

    /// Has the data plane act upon `table`, unless it is refused.
    ///
    /// # Errors
    /// When it gives the node addresses that the machine has not got; it may be tried again.
    fn take(&mut self, table: &Table) -> Result<()> {
        let revision = table.revision();
        self.standing.knows(table);
        if self.are_files {
            self.assembler = Assembler::new();
        }
        let made = self.assembler.assemble(table);
        let Some(own) = made.node_named(&self.name) else {
            tracing::warn!(event = "TableRefused", revision, "the node is not in it");
            return Ok(());
        };
        if let Some(why) = self.fitting.misfit(&made, own) {
            tracing::warn!(event = "TableRefused", revision, why, "a restart takes it");
            return Ok(());
        }
        let moves = self.fitting.moves(&made, own).inspect_err(|error| {
            tracing::warn!(event = "TableWaits", revision, "{error:#}");
        })?;
        let (v4, v6) = tunnel_addresses(&made, own, Encap::GreUdp);
        let has = self.fitting.udp;
        self.fitting.udp = (v4.or(has.0), v6.or(has.1));
        let mut vips = self.vips.take();
        if let Some(vips) = &mut vips {
            vips.add(&made, own);
        }
        self.inbox.put_moving(Arc::clone(&made), own, moves);
        if let Some(vips) = &mut vips {
            vips.remove(&made, own);
        }
        self.vips = vips;
        Ok(())
    }

    fn keep(&self, table: &Table) {
        if let Some(last) = &self.last
            && let Err(error) = last.write(table)
        {
            tracing::warn!(event = "LastTableNotKept", "{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_gets_the_newest_table_and_then_the_end() {
        let slot = Slot::default();
        assert!(matches!(slot.next(Some(Duration::ZERO)), Next::Nothing));
        slot.put(Table::new());
        slot.put(Table::new());
        assert!(matches!(slot.next(None), Next::Table(_)));
        assert!(matches!(slot.next(Some(Duration::ZERO)), Next::Nothing));
        slot.end();
        assert!(matches!(slot.next(None), Next::End));
    }
}
