//! A world that somebody outside plays to: packets of a trace go in, what one node sends is written down.
//!
//! For this the links around that node take no time, and the far ends of those that leave it are recorders in
//! place of other nodes. All else is the world as it is in any run: packets come in by links or from a host,
//! and go out by links or to a host.

use anyedge_net::event::Event;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_topologies::Loss;

use super::{LinkEnd, LinkId, World};
use crate::executor::HostId;
use crate::link::{Link, LinkSpec, Wear};
use crate::order::{SOURCES_MAX, Source};

/// Why a packet of a trace always finds room.
const SLOT_FREE: &str = "one packet at a time is far below the pool's bound";

/// What came of the packets so far.
pub(crate) struct Recorder {
    node: usize,
    pub(crate) packets: Vec<Recorded>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// Packets that came in by links.
    pub(super) entered: u64,
    /// Packets written down.
    pub(super) left: u64,
}

/// A packet that left the node.
pub(crate) struct Recorded {
    pub(crate) at: Instant,
    /// The link that it left by; `None`: to the host beside the node.
    pub(crate) link: Option<LinkId>,
    /// All of it, outer headers included.
    pub(crate) bytes: Vec<u8>,
}

impl Recorder {
    /// Notes an event of the node at `index`, if that is the one that is played to.
    pub(super) fn tell(&mut self, at: Instant, index: usize, event: Event) {
        if index == self.node {
            self.events.push((at, event));
        }
    }
}

impl World {
    /// From here on this is a world around `node` alone.
    pub(crate) fn isolate(&mut self, node: NodeId) {
        for link in &mut self.links {
            link.spec.rate_bps = 0;
            link.spec.delay = core::time::Duration::ZERO;
            link.spec.jitter = core::time::Duration::ZERO;
            link.spec.loss = Loss::NONE;
            link.spec.wear = Wear::NONE;
        }
        let leaving = self.nodes[node.index()].tunnels.iter().flatten();
        let leaving: Vec<LinkId> = leaving.copied().collect();
        for link in leaving {
            self.ends[link.index()] = LinkEnd::Recorder;
        }
        for end in &mut self.ends {
            if *end == LinkEnd::Clients {
                *end = LinkEnd::Recorder;
            }
        }
        // Tables come from outside now, and number their revisions themselves.
        self.nodes[node.index()].revision = None;
        self.recorder = Some(Box::new(Recorder {
            node: node.index(),
            packets: Vec::new(),
            events: Vec::new(),
            entered: 0,
            left: 0,
        }));
    }

    /// Adds a link that leads to the region's end of `path`, which the world was built without.
    pub(crate) fn add_way_in(&mut self, path: PathId) -> LinkId {
        let spec = LinkSpec {
            name: format!("trace>{}", self.table.paths[path.index()].name),
            rate_bps: 0,
            delay: core::time::Duration::ZERO,
            jitter: core::time::Duration::ZERO,
            loss: Loss::NONE,
            wear: Wear::NONE,
            queue_bytes_max: u64::MAX,
            mtu: usize::from(u16::MAX),
        };
        let source = Source::new(SOURCES_MAX - 1 - path.index());
        let link = Link::new(spec, source, self.seed);
        self.add_link(link, LinkEnd::RegionTunnel(path))
    }

    /// Lets everything happen that is due up to `at`, and moves on to that time.
    pub(crate) fn run_until(&mut self, at: Instant) {
        while let Some(next) = self.next().filter(|next| next.at() <= at) {
            self.step(next);
        }
        assert!(self.now <= at, "a trace's time went back");
        self.move_on(at);
    }

    /// A packet goes onto `link` now. `wrap` puts outer headers in front of it.
    pub(crate) fn enter_by(&mut self, link: LinkId, bytes: &[u8], wrap: impl FnOnce(&mut Packet)) {
        let mut packet = self.lend(bytes, PortId::PUBLIC);
        wrap(&mut packet);
        let recorder = self.recorder.as_mut();
        recorder.expect("the world was isolated").entered += 1;
        self.send_on(link, packet);
    }

    /// `host` sends a packet now.
    pub(crate) fn enter_from(&mut self, host: HostId, bytes: &[u8]) {
        let packet = self.lend(bytes, PortId::LOCAL);
        self.host_out.push(packet);
        self.after_host(host);
    }

    /// What was written down, to be taken away.
    pub(crate) fn recorder_mut(&mut self) -> &mut Recorder {
        self.recorder.as_mut().expect("the world was isolated")
    }

    fn lend(&mut self, bytes: &[u8], port: PortId) -> Packet {
        let packet = self.out.pool_mut().lend_copy(bytes, Meta::plain(port));
        packet.expect(SLOT_FREE)
    }

    pub(super) fn record(&mut self, link: Option<LinkId>, packet: Packet) {
        let at = self.now;
        let recorder = self.recorder_mut();
        recorder.left += 1;
        recorder.packets.push(Recorded {
            at,
            link,
            bytes: packet.bytes().to_vec(),
        });
        self.out.pool_mut().take_back(packet);
    }
}
