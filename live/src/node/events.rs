//! What a forwarder finds out, as it leaves the data plane's thread: into the log, to the agent, into the node's standing.
//!
//! The data plane puts values into a bounded queue and goes on; what finds no room is counted. A thread of its own turns
//! ids into names, by the table that was in force when the event happened. Log lines have the simulator's event names.
//! What strangers can cause (flows) is logged in detail only when asked for, and no event more than so often a second, so
//! that nobody fills the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyedge_ccn::agent::{AgentHandle, HealthStatusDetail};
use anyedge_net::event::{Event, Health};
use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::route_table::RouteTable;
use tracing::{Level, debug, enabled, info, warn};

use super::standing::Standing;
use crate::dataplane::onlooker::Onlooker;

/// Events that wait to be told of.
const QUEUE_MAX: usize = 4_096;
/// Lines of one event in a second; further ones are counted and told in one line.
const LINES_MAX: u32 = 20;

/// Flows by what became of them, and how the queue does. Counted on the data plane's thread.
#[derive(Debug, Default)]
pub(super) struct Flows {
    opened: AtomicU64,
    closed: AtomicU64,
    taken_over: AtomicU64,
    told: AtomicU64,
    heard: AtomicU64,
    lost: AtomicU64,
}

impl Flows {
    /// Opened, closed, taken over from others.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let [opened, closed, taken_over] =
            [&self.opened, &self.closed, &self.taken_over].map(|own| own.load(Ordering::Relaxed));
        (opened, closed, taken_over)
    }

    /// Events that found no room in the queue.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Events in the queue.
    pub(super) fn waiting(&self) -> u64 {
        let heard = self.heard.load(Ordering::Relaxed);
        self.told.load(Ordering::Relaxed).saturating_sub(heard)
    }

    fn count(&self, event: &Event) {
        let counter = match event {
            Event::FlowOpened { .. } => &self.opened,
            Event::FlowClosed { .. } => &self.closed,
            Event::FlowTakenOver { .. } => &self.taken_over,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the data plane tells.
enum Told {
    InForce(Arc<RouteTable>, NodeId),
    Saw(Event),
}

/// The data plane's end.
pub(super) struct Teller {
    queue: SyncSender<Told>,
    flows: Arc<Flows>,
    /// Flows are told of one by one.
    details: bool,
}

/// The other end, for a thread of its own.
pub(super) struct Listener {
    queue: Receiver<Told>,
    flows: Arc<Flows>,
    agent: Option<AgentHandle>,
    standing: Standing,
    table: Arc<RouteTable>,
    own: NodeId,
    /// Names of targets by their addresses, which are all that forwarders tell of them.
    targets: BTreeMap<(Address, u16), Vec<String>>,
    lines: Lines,
}

/// A queue between the two.
pub(super) fn queue(agent: Option<AgentHandle>, standing: Standing) -> (Teller, Listener) {
    let (sender, receiver) = sync_channel(QUEUE_MAX);
    let flows = Arc::new(Flows::default());
    let teller = Teller {
        queue: sender,
        flows: Arc::clone(&flows),
        details: enabled!(Level::DEBUG),
    };
    let listener = Listener {
        queue: receiver,
        flows,
        agent,
        standing,
        table: Arc::new(RouteTable::empty()),
        own: NodeId::UNKNOWN,
        targets: BTreeMap::new(),
        lines: Lines::default(),
    };
    (teller, listener)
}

impl Teller {
    /// What is counted as it happens.
    pub(super) fn flows(&self) -> Arc<Flows> {
        Arc::clone(&self.flows)
    }

    fn tell(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.flows.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            self.flows.told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Onlooker for Teller {
    fn in_force(&mut self, table: &Arc<RouteTable>, own: NodeId) {
        self.tell(Told::InForce(Arc::clone(table), own));
    }

    fn saw(&mut self, event: &Event) {
        self.flows.count(event);
        if self.details || !is_of_a_flow(event) {
            self.tell(Told::Saw(*event));
        }
    }
}

/// Whether any client can cause it, as often as it likes.
const fn is_of_a_flow(event: &Event) -> bool {
    matches!(
        event,
        Event::FlowOpened { .. }
            | Event::FlowEstablished { .. }
            | Event::FlowMoved { .. }
            | Event::FlowClosed { .. }
            | Event::FlowTakenOver { .. }
    )
}

impl Listener {
    /// Listens until the data plane is gone.
    pub(super) fn run(mut self) {
        let mut lost = 0;
        while let Ok(told) = self.queue.recv() {
            self.flows.heard.fetch_add(1, Ordering::Relaxed);
            match told {
                Told::InForce(table, own) => self.in_force(table, own),
                Told::Saw(event) => self.saw(&event),
            }
            let now_lost = self.flows.lost();
            if now_lost > lost && self.lines.may("EventsLost") {
                warn!(event = "EventsLost", count = now_lost - lost);
                lost = now_lost;
            }
        }
    }

    fn in_force(&mut self, table: Arc<RouteTable>, own: NodeId) {
        let revision = table.revision.0;
        self.targets = targets_of(&table);
        let sessions = sessions_of(&table, own);
        let mut known = self.standing.lock();
        known.put_in_force(revision);
        let gone = |session: &(String, String)| !sessions.contains(session);
        for (path, peer) in known.sessions.keys().filter(|session| gone(session)) {
            if let Some(agent) = &self.agent {
                agent.path_gone(peer, path);
            }
        }
        known.has_sessions(&sessions);
        drop(known);
        if let Some(agent) = &self.agent {
            agent.in_force(revision);
        }
        info!(event = "TableApplied", revision);
        (self.table, self.own) = (table, own);
    }

    fn saw(&mut self, event: &Event) {
        let name = name_of(event);
        *self.standing.lock().events.entry(name).or_default() += 1;
        match *event {
            Event::PeerState { path, peer, up } => self.peer_state(path, peer, up),
            Event::TargetHealth {
                target,
                target_port,
                health,
            } => self.target_health((target, target_port), health),
            Event::Announcement { vip, announced } => {
                let vip = std::net::IpAddr::from(vip).to_string();
                info!(event = name, vip, announced);
                let known = &mut self.standing.lock().announced;
                if announced {
                    known.insert(vip);
                } else {
                    known.remove(&vip);
                }
            }
            Event::PathState { path, up } => info!(event = name, path = self.path(path), up),
            Event::PathGrey { path, peer, grey } => {
                let (path, peer) = (self.path(path), self.node(peer));
                warn!(event = name, path, peer, grey);
            }
            Event::AllTargetsAbnormal { begins, .. } => warn!(event = name, begins, what = %event),
            Event::SynGate { shut, .. } if self.lines.may(name) => {
                warn!(event = name, shut, what = %event);
            }
            // Told of when it came.
            Event::TableApplied(_) => {}
            _ if self.lines.may(name) => debug!(event = name, what = %event),
            _ => {}
        }
    }

    fn peer_state(&mut self, path: PathId, peer: NodeId, up: bool) {
        let session = (self.path(path).to_owned(), self.node(peer).to_owned());
        let (path, peer) = (&session.0, &session.1);
        if let Some(agent) = &self.agent {
            agent.path_state(peer, path, up);
        }
        if self.lines.may("PeerState") {
            info!(event = "PeerState", path, peer, up);
        }
        self.standing.lock().set_session(session, up);
    }

    fn target_health(&mut self, at: (Address, u16), health: Health) {
        let detail = match health {
            Health::Detecting => HealthStatusDetail::Unknown,
            Health::Healthy => HealthStatusDetail::Alive,
            Health::Closed => HealthStatusDetail::Close,
            Health::Abnormal | Health::Blocked => HealthStatusDetail::Dead,
        };
        let names = self.targets.get(&at).cloned().unwrap_or_default();
        for target in names {
            if let Some(agent) = &self.agent {
                agent.target_health(&target, detail);
            }
            if self.lines.may("TargetHealth") {
                info!(event = "TargetHealth", target, health = ?health);
            }
            self.standing.lock().targets.insert(target, health);
        }
    }

    fn path(&self, path: PathId) -> &str {
        let path = self.table.paths.get(path.index());
        path.map_or("unknown", |path| &path.name)
    }

    fn node(&self, node: NodeId) -> &str {
        let node = self.table.nodes.get(node.index());
        node.map_or("unknown", |node| &node.name)
    }
}

/// The event's name, as the simulator has it.
const fn name_of(event: &Event) -> &'static str {
    match event {
        Event::TableApplied(_) => "TableApplied",
        Event::PathState { .. } => "PathState",
        Event::PeerState { .. } => "PeerState",
        Event::PathGrey { .. } => "PathGrey",
        Event::Announcement { .. } => "Announcement",
        Event::Drains { .. } => "Drains",
        Event::TargetHealth { .. } => "TargetHealth",
        Event::AllTargetsAbnormal { .. } => "AllTargetsAbnormal",
        Event::SynGate { .. } => "SynGate",
        Event::FlowTakenOver { .. } => "FlowTakenOver",
        Event::SlotsResynced { .. } => "SlotsResynced",
        Event::FlowOpened { .. } => "FlowOpened",
        Event::FlowEstablished { .. } => "FlowEstablished",
        Event::FlowMoved { .. } => "FlowMoved",
        Event::FlowClosed { .. } => "FlowClosed",
        Event::SourceUntold { .. } => "SourceUntold",
    }
}

/// Full names of targets by address, as controllers have them.
fn targets_of(table: &RouteTable) -> BTreeMap<(Address, u16), Vec<String>> {
    let mut found = BTreeMap::<_, Vec<String>>::new();
    for clb in &table.clbs {
        for listener in &clb.listeners {
            for target in &listener.targets {
                let at = (target.address, target.port);
                let address = std::net::SocketAddr::new(target.address.into(), target.port);
                let name = format!("{}/{}/{address}", clb.name, listener.name);
                found.entry(at).or_default().push(name);
            }
        }
    }
    found
}

/// Path and peer of every session that the node has by `table`.
fn sessions_of(table: &RouteTable, own: NodeId) -> BTreeSet<(String, String)> {
    let sessions = table.paths.iter().flat_map(|path| {
        let peers = table.peers_over(path, own).into_iter();
        let peers = peers.map(|peer| table.nodes[peer.index()].name.clone());
        peers.map(|peer| (path.name.clone(), peer))
    });
    sessions.collect()
}

/// How many lines of each event there were in this second.
#[derive(Default)]
struct Lines {
    counts: BTreeMap<&'static str, (Option<Instant>, u32)>,
}

impl Lines {
    /// Whether another line of `event` may be written.
    fn may(&mut self, event: &'static str) -> bool {
        let now = Instant::now();
        let (since, count) = self.counts.entry(event).or_default();
        if since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            if *count > LINES_MAX {
                let more = *count - LINES_MAX;
                warn!(event = "LinesLeftOut", of = event, count = more);
            }
            (*since, *count) = (Some(now), 0);
        }
        *count = count.saturating_add(1);
        *count <= LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::beginning::file_table;
    use super::*;
    use anyedge_ccn::assemble::Assembler;
    use anyedge_topologies::Topology;

    #[test]
    fn an_event_a_thousand_times_a_second_is_told_of_twenty_times() {
        let mut lines = Lines::default();
        let told = (0..1_000).filter(|_| lines.may("SynGate")).count();
        assert_eq!(told, LINES_MAX as usize);
        assert!(lines.may("PeerState"), "others are not held back");
    }

    #[test]
    fn sessions_and_targets_go_by_the_names_that_controllers_have() {
        let text = include_str!("../../../topologies/two-pops.toml");
        let topology = Topology::parse("two-pops.toml", text).expect("a topology that is shipped");
        let table = file_table(&topology, 1).expect("it makes a table");
        let table = Assembler::new().assemble(&table);
        let own = table.node_named("pop.tokyo").expect("a node of it");
        let standing = Standing::default();
        let (mut teller, listener) = queue(None, standing.clone());
        teller.in_force(&table, own);
        let session = sessions_of(&table, own).into_iter().next().expect("one");
        assert_eq!(session.1, "region.guangzhou.clb-1");
        let paths = &table.paths;
        let path = paths.iter().position(|path| path.name == session.0);
        let path = PathId(u16::try_from(path.expect("it is a path")).expect("few paths"));
        let peer = table.node_named(&session.1).expect("a node of it");
        let up = Event::PeerState {
            path,
            peer,
            up: true,
        };
        teller.saw(&up);
        drop(teller);
        let names: Vec<String> = targets_of(&table).into_values().flatten().collect();
        assert!(names.contains(&"gz-main/web/10.0.0.12:8080".to_owned()));
        listener.run();
        let known = standing.lock();
        assert_eq!(known.to_string(), "revision 1, 1 of 1 sessions up");
    }
}
