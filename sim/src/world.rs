//! The simulated world: everything that exists beside the services' own tasks, and what happens next.
//!
//! One call of [`World::step`] takes one event off the queue and carries out all that follows at the same
//! instant: a delivery goes through a forwarder, what comes out goes onto links, which put new deliveries
//! into the queue. Nothing here blocks, sleeps or draws from outside; services act on the world through
//! [`World::with_stack`] between steps.
//!
//! Invariant: a packet is in exactly one place: on a link, in a host's receive queue, or ended and counted.

mod conservation;
mod controlled;
mod fate;
mod forwarding;
mod host_entry;
mod managed;
mod outside;
mod peered;
mod routers;
mod steering;
mod streamed;
mod vpc;
mod watched;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::destination;
use anyedge_topologies::{Convergence, TcpStack};

use crate::budget::Budget;
use crate::clock::WorldTime;
use crate::control::Control;
use crate::digest::TraceDigest;
use crate::egress::Egress;
use crate::executor::{Handle, HostId, TimerId};
use crate::internet::{Internet, PopulationId};
use crate::link::Link;
use crate::management::Management;
use crate::node::Node;
use crate::order::{Kind, Source};
use crate::peerings::Peerings;
use crate::queue::{Ahead, EventQueue, Next};
use crate::scenario::Act;
use crate::services::LeaderHook;
use crate::stack::{FlowTimer, HostConfig, HostStack, Io};
use crate::steward::Steward;
use crate::streams::Streams;
use crate::tally::EventTally;
use crate::timeline::Timeline;
use crate::underlay::Neighbours;

pub(crate) use fate::Power;
pub(crate) use host_entry::{Attachment, HostEntry};
pub(crate) use outside::{Recorded, Recorder};
pub(crate) use vpc::{Vpc, is_plain};
use watched::Watch;

/// Packets that may exist at a time: 2 KB slots, so 4 GiB at the very most.
const PACKETS_MAX: usize = 2_000_000;

/// A link, one direction, by its position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LinkId(pub(crate) u32);

impl LinkId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a link's far end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LinkEnd {
    /// A POP's public side.
    PopPublic(NodeId),
    /// A node's tunnel mouth.
    Tunnel(NodeId, PathId),
    /// A region's edge on the backbone: the outer destination says which CLB node.
    RegionTunnel(PathId),
    /// A region's own Internet edge: the flow's slot says which CLB node.
    RegionPublic(RegionId),
    /// A client population: the destination says which host.
    Clients,
    /// The other end of the wire between a POP's speakers and its router.
    Peer(HostId),
    /// A place on the management network: the destination says which node's host.
    Managed,
    /// Nobody: what arrives is written down, see [`Recorder`].
    Recorder,
}

/// One thing that happens.
enum Happening {
    /// With the number of the link's outages when it was sent.
    Delivery(LinkId, u16, Packet),
    NodeTimer(NodeId),
    FlowTimer(HostId, FlowTimer),
    Wake(TimerId),
    /// Rare, and larger than a packet.
    Scenario(Box<Act>),
}

// With its time an event in a lane is one cache line.
const _: () = assert!(size_of::<Happening>() <= 48);

impl Ahead for Happening {
    #[inline]
    fn fetch(&self) {
        if let Happening::Delivery(_, _, packet) = self {
            packet.fetch();
        }
    }
}

/// Everything that exists.
pub(crate) struct World {
    now: Instant,
    /// The same for others.
    time: Arc<WorldTime>,
    seed: Seed,
    /// The TCP of all hosts.
    pub(crate) tcp: TcpStack,
    queue: EventQueue<Happening>,
    out: Outbox,
    batch: Vec<Packet>,
    /// Packets that hosts just sent, and transport timers they just asked for.
    host_out: Vec<Packet>,
    host_timers: Vec<(Instant, FlowTimer)>,
    touched: Vec<HostId>,
    pub(crate) table: Arc<RouteTable>,
    pub(crate) neighbours: Neighbours,
    pub(crate) vpc: Vpc,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) ends: Vec<LinkEnd>,
    pub(crate) hosts: Vec<HostEntry>,
    pub(crate) internet: Internet,
    /// Where clients may send.
    pub(crate) egress: Egress,
    /// There in worlds that are built from a topology.
    pub(crate) management: Option<Box<Management>>,
    pub(crate) streams: Streams,
    /// POPs and their routers.
    pub(crate) peerings: Peerings,
    /// Packets that ended where no node, link or host counts them.
    pub(crate) lost: DropCounts,
    /// Errors that routers of the Internet made.
    routers_sent: u64,
    pub(crate) digest: TraceDigest,
    pub(crate) tally: EventTally,
    /// The services' tasks: their timers fire here.
    tasks: Handle,
    /// The source of scenario events and of services' timers.
    director: Source,
    steps: u64,
    /// What left the one node that a trace is played to.
    recorder: Option<Box<Recorder>>,
    /// Machines that stopped or started, for the executor to follow.
    power: Vec<(HostId, Power)>,
    /// Tells which controller leads.
    pub(crate) leader: Option<LeaderHook>,
    /// Who a fault of the leader struck, by the fault's number.
    struck_leaders: BTreeMap<usize, HostId>,
    /// Who writes the route tables; nobody in worlds of a single table.
    pub(crate) steward: Option<Box<Steward>>,
    /// Who writes them where there are controllers.
    pub(crate) control: Option<Box<Control>>,
    pub(crate) budget: Budget,
    pub(crate) timeline: Timeline,
    /// Somebody who is told what happens.
    watch: Option<Box<Watch>>,
}

impl World {
    pub(crate) fn new(
        seed: Seed,
        digest: TraceDigest,
        table: Arc<RouteTable>,
        director: Source,
        tasks: Handle,
    ) -> World {
        World {
            now: Instant::ZERO,
            time: Arc::default(),
            seed,
            tcp: TcpStack::default(),
            queue: EventQueue::new(),
            out: Outbox::new(Pool::new(PACKETS_MAX)),
            batch: Vec::new(),
            host_out: Vec::new(),
            host_timers: Vec::new(),
            touched: Vec::new(),
            neighbours: Neighbours::of(&table),
            vpc: Vpc::default(),
            table,
            nodes: Vec::new(),
            links: Vec::new(),
            ends: Vec::new(),
            hosts: Vec::new(),
            internet: Internet::new(seed, Convergence::fixed(Duration::ZERO)),
            egress: Egress::default(),
            management: None,
            streams: Streams::default(),
            peerings: Peerings::default(),
            lost: DropCounts::default(),
            routers_sent: 0,
            digest,
            tally: EventTally::default(),
            tasks,
            director,
            steps: 0,
            recorder: None,
            power: Vec::new(),
            leader: None,
            struck_leaders: BTreeMap::new(),
            steward: None,
            control: None,
            budget: Budget::default(),
            timeline: Timeline::default(),
            watch: None,
        }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// The time, for who does not open it.
    pub(crate) const fn time(&self) -> &Arc<WorldTime> {
        &self.time
    }

    #[inline]
    fn move_on(&mut self, to: Instant) {
        self.now = to;
        self.time.set(to);
    }

    /// What the clock of `host` shows.
    pub(crate) fn host_now(&self, host: HostId) -> Instant {
        let clock = &self.hosts[host.index()].clock;
        clock
            .as_ref()
            .map_or(self.now, |clock| clock.read(self.now))
    }

    /// When the clock of `host` shows `at`.
    pub(crate) fn shown_at(&self, host: HostId, at: Instant) -> Instant {
        let clock = &self.hosts[host.index()].clock;
        clock.as_ref().map_or(at, |clock| clock.shows_at(at))
    }

    pub(crate) const fn seed(&self) -> Seed {
        self.seed
    }

    /// A host of this world that has nothing of its own but a name, which its randomness is drawn by, and addresses.
    pub(crate) fn host_config(
        &self,
        name: impl Into<String>,
        addresses: Vec<IpAddr>,
    ) -> HostConfig {
        HostConfig {
            tcp: self.tcp,
            ..HostConfig::new(name, addresses, self.seed)
        }
    }

    /// Events so far.
    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Packets that links have delivered so far.
    pub(crate) fn packet_hops(&self) -> u64 {
        self.links.iter().map(|link| link.delivered).sum()
    }

    /// TCP segments that the hosts of clients and backends sent again so far.
    pub(crate) fn retransmissions(&self) -> u64 {
        let is_end = |entry: &&HostEntry| {
            matches!(
                entry.attachment,
                Attachment::Client(_) | Attachment::Backend(_)
            )
        };
        let ends = self.hosts.iter().filter(is_end);
        ends.map(|entry| entry.stack.stats().retransmissions).sum()
    }

    pub(crate) fn add_link(&mut self, link: Link, end: LinkEnd) -> LinkId {
        self.links.push(link);
        self.ends.push(end);
        LinkId(u32::try_from(self.links.len() - 1).expect("the builder bounds the number of links"))
    }

    /// Puts `act` on the calendar.
    pub(crate) fn schedule_act(&mut self, at: Instant, act: Act) {
        let tie = self.director.next(Kind::Scenario);
        let act = Happening::Scenario(Box::new(act));
        self.queue.push(at, tie, act);
    }

    /// Puts a service's timer on the calendar.
    pub(crate) fn schedule_timer(&mut self, at: Instant, timer: TimerId) {
        let tie = self.director.next(Kind::Wake);
        self.queue
            .push(at.max(self.now), tie, Happening::Wake(timer));
    }

    /// Which event is next.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Next> {
        self.queue.next()
    }

    /// Lets the next event happen, of which [`next`](World::next) just told.
    pub(crate) fn step(&mut self, next: Next) {
        let Some(happening) = self.queue.take(next) else {
            return;
        };
        let at = next.at();
        debug_assert!(at >= self.now, "time never runs back");
        if self.timeline.is_due(at) {
            self.sample(at);
        }
        self.move_on(at);
        self.steps += 1;
        match happening {
            Happening::Delivery(link, outages, packet) => self.deliver(link, outages, packet),
            Happening::NodeTimer(node) => self.node_timer(node),
            Happening::FlowTimer(host, timer) => self.flow_timer(host, timer),
            Happening::Wake(timer) => self.tasks.fire(timer),
            Happening::Scenario(act) => self.act(*act),
        }
    }

    /// Acts on a host's transport; what it sends goes onto links.
    #[inline]
    pub(crate) fn with_stack<R>(
        &mut self,
        host: HostId,
        act: impl FnOnce(&mut HostStack, &mut Io<'_>) -> R,
    ) -> R {
        let entry = &mut self.hosts[host.index()];
        let mut io = Io {
            now: self.now,
            pool: self.out.pool_mut(),
            out: &mut self.host_out,
            timers: &mut self.host_timers,
        };
        let result = act(&mut entry.stack, &mut io);
        if !entry.touched && entry.stack.needs_flush() {
            entry.touched = true;
            self.touched.push(host);
        }
        self.after_host(host);
        result
    }

    /// Takes something from a host's transport by what sends nothing.
    #[inline]
    pub(crate) fn read_stack<R>(
        &mut self,
        host: HostId,
        read: impl FnOnce(&mut HostStack, &mut Pool) -> R,
    ) -> R {
        read(&mut self.hosts[host.index()].stack, self.out.pool_mut())
    }

    /// Lets every host that was acted upon send what its flows have ready.
    #[inline]
    pub(crate) fn flush(&mut self) {
        let mut next = 0;
        while let Some(&host) = self.touched.get(next) {
            next += 1;
            self.hosts[host.index()].touched = false;
            let mut io = Io {
                now: self.now,
                pool: self.out.pool_mut(),
                out: &mut self.host_out,
                timers: &mut self.host_timers,
            };
            self.hosts[host.index()].stack.flush(&mut io);
            self.after_host(host);
        }
        self.touched.clear();
    }

    #[inline]
    fn deliver(&mut self, link: LinkId, outages: u16, packet: Packet) {
        let entry = &mut self.links[link.index()];
        if entry.outages != outages {
            entry.cut_off(DropReason::LinkDown);
            if self.watch.is_some() {
                self.note_cut_off(link, &packet);
            }
            return self.out.pool_mut().take_back(packet);
        }
        entry.arrived(packet.len());
        self.digest
            .delivery(self.now, entry.kept.rank(), packet.bytes());
        if self.watch.is_none() {
            return self.arrive(link, packet);
        }
        let seen = packet.bytes().to_vec();
        self.begin_delivery();
        self.arrive(link, packet);
        self.end_delivery(link, &seen);
    }

    /// A packet is at the far end of its link.
    #[inline(always)]
    fn arrive(&mut self, link: LinkId, mut packet: Packet) {
        match self.ends[link.index()] {
            LinkEnd::Recorder => self.record(Some(link), packet),
            LinkEnd::PopPublic(node) => {
                packet.meta = Meta::plain(PortId::PUBLIC);
                self.node_packet(node, packet);
            }
            LinkEnd::Tunnel(node, path) => self.tunnel_packet(Some(node), path, packet),
            LinkEnd::RegionTunnel(path) => self.tunnel_packet(None, path, packet),
            LinkEnd::Managed => self.managed_packet(packet),
            LinkEnd::Peer(host) => self.peer_packet(host, packet),
            LinkEnd::RegionPublic(region) => match self.slot_owner(region, packet.bytes()) {
                Ok(node) => {
                    packet.meta = Meta::plain(PortId::PUBLIC);
                    self.node_packet(node, packet);
                }
                Err(reason) => self.lose(packet, reason),
            },
            LinkEnd::Clients => {
                match destination(packet.bytes()).and_then(|to| self.internet.host(to)) {
                    Some(host) => self.host_packet(host, packet),
                    None => self.lose(packet, DropReason::NoRoute),
                }
            }
        }
    }

    #[inline(always)]
    fn send_on(&mut self, link: LinkId, packet: Packet) {
        let taken = self.links[link.index()].send(self.now, packet.len());
        if self.watch.is_some() {
            self.note_link(link, taken);
        }
        let entry = &mut self.links[link.index()];
        match taken {
            Ok(arrival) => {
                let tie = entry.kept.next(Kind::Delivery);
                let outages = entry.outages;
                let packet = if entry.is_faithful() {
                    packet
                } else {
                    self.spoil(link, arrival, packet)
                };
                let delivery = Happening::Delivery(link, outages, packet);
                self.queue
                    .push_in_lane(link.index(), arrival, tie, delivery);
            }
            // The link has counted it, here and below.
            Err(DropReason::LinkMtu) => self.refuse_too_big(link, packet),
            Err(_) => self.out.pool_mut().take_back(packet),
        }
    }

    #[inline]
    fn host_packet(&mut self, host: HostId, packet: Packet) {
        if self.recorder.is_some() {
            return self.record(None, packet);
        }
        let outcome = self.with_stack(host, |stack, io| stack.handle_packet(packet, io));
        if self.watch.is_some() {
            self.note_host(outcome);
        }
        let entry = &mut self.hosts[host.index()];
        entry.count(outcome);
    }

    fn flow_timer(&mut self, host: HostId, timer: FlowTimer) {
        self.with_stack(host, |stack, io| stack.handle_timer(timer, io));
    }

    /// Carries out what a host's transport left behind.
    fn after_host(&mut self, host: HostId) {
        if !self.host_timers.is_empty() {
            let entry = &mut self.hosts[host.index()];
            for (at, timer) in self.host_timers.drain(..) {
                let tie = entry.source.next(Kind::FlowTimer);
                self.queue
                    .push(at.max(self.now), tie, Happening::FlowTimer(host, timer));
            }
        }
        if self.host_out.is_empty() {
            return;
        }
        let mut sent = core::mem::take(&mut self.host_out);
        self.hosts[host.index()].sent += sent.len() as u64;
        let attachment = self.hosts[host.index()].attachment;
        for mut packet in sent.drain(..) {
            match attachment {
                Attachment::Client(population) if self.watch.is_some() => {
                    self.begin_at_client(population, &packet);
                    self.send_from_client(population, packet);
                    self.end_handling();
                }
                Attachment::Client(population) => self.send_from_client(population, packet),
                Attachment::Backend(node) => match self.way_without_vswitch(node) {
                    Some(link) => self.send_on(link, packet),
                    None => {
                        packet.meta = Meta::plain(PortId::BACKEND);
                        self.node_packet(node, packet);
                    }
                },
                Attachment::Managed => self.send_managed(host, packet),
                Attachment::Stream(node, path) => self.send_segment(node, path, packet),
                Attachment::Peer(link) => self.send_on(link, packet),
            }
        }
        // A backend's answers may have made hosts send again at this instant, through the same vector.
        if self.host_out.is_empty() {
            self.host_out = sent;
        }
    }

    #[inline]
    fn send_from_client(&mut self, population: PopulationId, packet: Packet) {
        if !self.egress.lets_out(population, packet.bytes()) {
            return self.lose(packet, DropReason::ClientSecurityGroup);
        }
        let to = destination(packet.bytes());
        match to.and_then(|to| self.internet.towards(population, to)) {
            Some(link) => self.send_on(link, packet),
            None => self.lose(packet, DropReason::NoRoute),
        }
    }

    fn lose(&mut self, packet: Packet, reason: DropReason) {
        if self.watch.is_some() {
            self.note_lost(reason);
        }
        self.out.pool_mut().take_back(packet);
        self.lost.add(reason);
    }
}
