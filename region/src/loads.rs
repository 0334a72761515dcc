//! Loads: how many flows of its own a node has, of each listener and of each server behind it.
//!
//! The connection table keeps them in step with its flows: a flow counts from its first packet until it is over, and no
//! longer while it only lingers. Servers are counted where the scheduler asks for them; a server that left its
//! listener is known for as long as it has flows, so that it comes back with what it has.
//!
//! Other nodes of the region tell theirs (`clb_node::gossip`), and a server's load is the sum.
//!
//! Invariant: the first servers are the listener's targets, in their order.

use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::Target;

/// The nodes of a region that tell their loads, at most.
pub(crate) const PEERS_MAX: usize = 64;

/// How many flows the listeners of a node have, by their numbers.
#[derive(Default)]
pub(crate) struct Loads {
    half_open: usize,
    listeners: Vec<ListenerLoad>,
}

/// How many flows a listener has on this node.
#[derive(Clone, Default)]
struct ListenerLoad {
    half_open: usize,
    active: u32,
    /// `None`: its servers are not counted.
    servers: Option<Servers>,
}

/// What counts of a flow, and where.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) listener: u16,
    pub(crate) server: (Address, u16),
    /// Its handshake has not completed.
    pub(crate) half_open: bool,
    /// It is not over.
    pub(crate) active: bool,
}

impl Loads {
    /// No flow, and room for so many listeners.
    pub(crate) fn new(listeners: usize) -> Loads {
        Loads {
            half_open: 0,
            listeners: vec![ListenerLoad::default(); listeners],
        }
    }

    /// How many listeners there are.
    pub(crate) fn len(&self) -> usize {
        self.listeners.len()
    }

    /// Flows whose handshake has not completed.
    pub(crate) const fn half_open(&self) -> usize {
        self.half_open
    }

    /// Those of the listener of that number.
    pub(crate) fn half_open_of(&self, listener: u16) -> usize {
        let load = self.listeners.get(usize::from(listener));
        load.map_or(0, |load| load.half_open)
    }

    /// Flows of the listener of that number that are not over.
    pub(crate) fn active_of(&self, listener: u16) -> u32 {
        let load = self.listeners.get(usize::from(listener));
        load.map_or(0, |load| load.active)
    }

    /// The servers of the listener of that number, if they are counted.
    pub(crate) fn servers(&self, listener: u16) -> Option<&Servers> {
        self.listeners.get(usize::from(listener))?.servers.as_ref()
    }

    /// The same, to be told of other nodes' flows.
    pub(crate) fn servers_mut(&mut self, listener: u16) -> Option<&mut Servers> {
        let load = self.listeners.get_mut(usize::from(listener))?;
        load.servers.as_mut()
    }

    /// A flow came.
    pub(crate) fn add(&mut self, flow: &Counted) {
        self.half_open += usize::from(flow.half_open);
        let Some(load) = self.listeners.get_mut(usize::from(flow.listener)) else {
            return;
        };
        load.half_open += usize::from(flow.half_open);
        if flow.active {
            load.active += 1;
            if let Some(servers) = &mut load.servers {
                servers.add(flow.server);
            }
        }
    }

    /// A flow went, or of what counted of it something no longer does.
    pub(crate) fn take_away(&mut self, flow: &Counted) {
        self.half_open -= usize::from(flow.half_open);
        let Some(load) = self.listeners.get_mut(usize::from(flow.listener)) else {
            return;
        };
        load.half_open -= usize::from(flow.half_open);
        if flow.active {
            load.active -= 1;
            if let Some(servers) = &mut load.servers {
                servers.take_away(flow.server);
            }
        }
    }

    /// Counts a flow of a server that was there before its listener's servers were counted.
    pub(crate) fn count(&mut self, flow: &Counted) {
        if let Some(servers) = self.servers_mut(flow.listener) {
            servers.add(flow.server);
        }
    }

    /// The listener's targets are these from here on, counted if `counts`. True when they were not counted before, so
    /// that its flows are to be gone through.
    pub(crate) fn set_targets(&mut self, listener: u16, targets: &[Target], counts: bool) -> bool {
        let Some(load) = self.listeners.get_mut(usize::from(listener)) else {
            return false;
        };
        if !counts {
            load.servers = None;
            return false;
        }
        let is_fresh = load.servers.is_none();
        load.servers.get_or_insert_default().set_targets(targets);
        is_fresh
    }
}

/// The servers behind a listener and their flows.
#[derive(Clone, Default, Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    targets: usize,
    /// Places of `servers`, sorted by address and port.
    sorted: Vec<u32>,
}

/// A server and its flows.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    place: (Address, u16),
    own: u32,
    /// Told by other nodes.
    peers: Vec<(NodeId, u32)>,
    told: u32,
    /// What this node told them last.
    pub(crate) last_told: u32,
}

impl Server {
    /// Flows of all nodes.
    #[inline]
    pub(crate) const fn load(&self) -> u32 {
        self.own.saturating_add(self.told)
    }

    /// Flows of this node.
    pub(crate) const fn own(&self) -> u32 {
        self.own
    }

    /// Its address and port.
    pub(crate) const fn place(&self) -> (Address, u16) {
        self.place
    }

    const fn is_idle(&self) -> bool {
        self.load() == 0 && self.last_told == 0
    }
}

impl Servers {
    /// The load of the target at that place.
    #[inline]
    pub(crate) fn load_of(&self, target: u16) -> u32 {
        self.servers[usize::from(target)].load()
    }

    /// All of them, to be told of.
    pub(crate) fn all_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }

    /// A server's flows on another node, which are what it said last.
    pub(crate) fn set_peer(&mut self, place: (Address, u16), peer: NodeId, flows: u32) {
        let Some(at) = self.find(place) else {
            return;
        };
        let server = &mut self.servers[at];
        let known = server.peers.iter().position(|(node, _)| *node == peer);
        match known {
            Some(at) => server.peers[at].1 = flows,
            None if server.peers.len() < PEERS_MAX => server.peers.push((peer, flows)),
            None => return,
        }
        server.sum_up();
    }

    /// Forgets what a node told that is gone, or has not spoken for long.
    pub(crate) fn forget_peer(&mut self, peer: NodeId) {
        for server in &mut self.servers {
            server.peers.retain(|(node, _)| *node != peer);
            server.sum_up();
        }
    }

    fn add(&mut self, place: (Address, u16)) {
        let at = self.find(place).unwrap_or_else(|| self.insert(place));
        self.servers[at].own += 1;
    }

    fn take_away(&mut self, place: (Address, u16)) {
        let at = self.find(place).expect("it was counted when it came");
        self.servers[at].own -= 1;
    }

    fn find(&self, place: (Address, u16)) -> Option<usize> {
        let by_place = |at: &u32| self.servers[*at as usize].place;
        let found = self.sorted.binary_search_by_key(&place, by_place).ok()?;
        Some(self.sorted[found] as usize)
    }

    /// A server that is no target: flows of it are taken over from another node, whose routes are older.
    fn insert(&mut self, place: (Address, u16)) -> usize {
        self.servers.push(Server::of(place));
        self.sort();
        self.servers.len() - 1
    }

    fn set_targets(&mut self, targets: &[Target]) {
        let mut before = core::mem::take(&mut self.servers);
        let old = core::mem::take(&mut self.sorted);
        for target in targets {
            let place = (target.address, target.port);
            let by_place = |at: &u32| before[*at as usize].place;
            let known = old.binary_search_by_key(&place, by_place).ok();
            let server = known.map(|found| {
                let server = &mut before[old[found] as usize];
                // What is left in its place has no flows, and goes.
                core::mem::replace(server, Server::of(place))
            });
            self.servers
                .push(server.unwrap_or_else(|| Server::of(place)));
        }
        self.targets = targets.len();
        let left = before.into_iter().filter(|server| !server.is_idle());
        self.servers.extend(left);
        self.sort();
    }

    fn sort(&mut self) {
        self.sorted.clear();
        self.sorted.extend(0..self.servers.len() as u32);
        let servers = &self.servers;
        self.sorted.sort_by_key(|at| servers[*at as usize].place);
    }
}

impl Server {
    const fn of(place: (Address, u16)) -> Server {
        Server {
            place,
            own: 0,
            peers: Vec::new(),
            told: 0,
            last_told: 0,
        }
    }

    fn sum_up(&mut self) {
        let told = self.peers.iter().map(|(_, flows)| *flows);
        self.told = told.fold(0, u32::saturating_add);
    }
}
