//! What the world tells a watcher: frames of who handles a packet, with notes of what is done in them.
//!
//! A packet that comes to a node, or leaves a client, opens a frame; what is sent, dropped or decided meanwhile is noted
//! there. A backend that answers at once opens a frame inside. Behind a CLB node a flow has another tuple, which is
//! remembered as an alias of the client's, the oldest forgotten first.
//!
//! Invariant: nothing here is read by anything that the world acts upon.

use std::collections::{BTreeMap, VecDeque};

use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::event::Event;
use anyedge_net::flow::FlowKey;
use anyedge_net::id::NodeId;
use anyedge_net::packet::Packet;
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::time::Instant;
use anyedge_net::wire::gre;
use anyedge_net::wire::{self};

use super::{LinkEnd, LinkId, World};
use crate::internet::PopulationId;
use crate::stack::Outcome;
use crate::underlay;
use crate::watch::{Delivery, Did, Handled, Watcher, Why, socket};

mod reasons;

/// Tuples behind load balancers that are remembered at a time.
const ALIASES_MAX: usize = 1 << 16;

/// Who watches, and what is noted for them.
pub(crate) struct Watch {
    watcher: Box<dyn Watcher>,
    open: Vec<Frame>,
    done: Vec<Handled>,
    flow: Option<FlowKey>,
    received: bool,
    lost: Option<DropReason>,
    aliases: Aliases,
}

/// Somebody handles a packet.
struct Frame {
    node: Option<usize>,
    /// As the client sees it.
    flow: Option<FlowKey>,
    asked: bool,
    handled: Handled,
    /// What the node had dropped before.
    dropped: DropCounts,
}

/// Tuples behind a load balancer, and their flows.
#[derive(Default)]
struct Aliases {
    flows: BTreeMap<FlowKey, FlowKey>,
    age: VecDeque<FlowKey>,
}

impl Aliases {
    fn add(&mut self, behind: FlowKey, flow: FlowKey) {
        if self.flows.insert(behind, flow).is_none() {
            self.age.push_back(behind);
        }
        if self.age.len() > ALIASES_MAX
            && let Some(oldest) = self.age.pop_front()
        {
            self.flows.remove(&oldest);
        }
    }

    /// The flow that has this tuple somewhere, and whether it is that of its answers.
    fn flow_of(&self, tuple: &FlowKey, is_vip: bool) -> (FlowKey, bool) {
        let answered = tuple.reversed();
        if let Some(flow) = self.flows.get(tuple) {
            (*flow, false)
        } else if let Some(flow) = self.flows.get(&answered) {
            (*flow, true)
        } else if is_vip {
            (answered, true)
        } else {
            (*tuple, false)
        }
    }
}

impl Watch {
    pub(crate) fn new(watcher: Box<dyn Watcher>) -> Box<Watch> {
        Box::new(Watch {
            watcher,
            open: Vec::new(),
            done: Vec::new(),
            flow: None,
            received: false,
            lost: None,
            aliases: Aliases::default(),
        })
    }

    fn note(&mut self, did: Did) {
        if let Some(frame) = self.open.last_mut() {
            frame.handled.did.push(did);
        }
    }
}

/// The tuple of a packet at a port, without its tunnel's header.
fn tuple_of(port: PortId, bytes: &[u8]) -> Option<FlowKey> {
    let inner = match port.kind() {
        Some(PortKind::Tunnel) => {
            let header = gre::parse(bytes).ok()?;
            let carries_ip = [gre::PROTOCOL_IPV4, gre::PROTOCOL_IPV6].contains(&header.protocol);
            bytes.get(header.header_len..).filter(|_| carries_ip)?
        }
        _ => bytes,
    };
    Some(wire::parse(inner).ok()?.flow)
}

impl World {
    /// From here on `watcher` is told what happens.
    pub(crate) fn set_watcher(&mut self, watcher: Box<dyn Watcher>) {
        self.watch = Some(Watch::new(watcher));
    }

    /// Whether a watcher has seen enough.
    pub(crate) fn is_watched_out(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|watch| watch.watcher.is_satisfied())
    }

    /// A packet comes out of a link.
    #[cold]
    pub(super) fn begin_delivery(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.done.clear();
            watch.flow = None;
            watch.received = false;
            watch.lost = None;
        }
    }

    /// All that followed is done.
    #[cold]
    pub(super) fn end_delivery(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let own = || {
            let tuple = wire::parse(bytes).ok()?.flow;
            let from_vip = self.internet.vip(tuple.src).is_some();
            Some(watch.aliases.flow_of(&tuple, from_vip).0)
        };
        let is_tunnel = matches!(
            self.ends[link.index()],
            LinkEnd::Tunnel(..) | LinkEnd::RegionTunnel(_)
        );
        let flow = watch.flow.or_else(|| own().filter(|_| !is_tunnel));
        watch.watcher.delivered(&Delivery {
            at: self.now,
            link: link.index(),
            name: &self.links[link.index()].spec.name,
            bytes,
            flow,
            handled: &watch.done,
            received: watch.received,
            lost: watch.lost,
        });
        self.watch = Some(watch);
    }

    /// A packet was on a link that went down.
    #[cold]
    pub(super) fn note_cut_off(&mut self, link: LinkId, packet: &Packet) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let bytes = packet.bytes();
        let behind = match self.ends[link.index()] {
            LinkEnd::Tunnel(_, path) | LinkEnd::RegionTunnel(path) => {
                let encap = self.table.paths[path.index()].encap;
                let outer = underlay::unwrap(bytes, encap);
                outer.and_then(|outer| tuple_of(PortId::tunnel(path), &bytes[outer.len..]))
            }
            _ => tuple_of(PortId::LOCAL, bytes),
        };
        if let Some(tuple) = behind {
            let from_vip = self.internet.vip(tuple.src).is_some();
            let (flow, answer) = watch.aliases.flow_of(&tuple, from_vip);
            if watch.watcher.asks(&flow) {
                let link = self.links[link.index()].spec.name.clone();
                let handled = Handled {
                    at_s: self.now.as_secs_f64(),
                    who: "the packet".to_owned(),
                    answer,
                    did: vec![Did::CutOff { link }],
                    why: None,
                };
                watch.watcher.handled(&flow, &handled);
            }
        }
        self.watch = Some(watch);
    }

    /// A packet comes to a node.
    #[cold]
    pub(super) fn begin_at_node(&mut self, node: NodeId, packet: &Packet) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let tuple = tuple_of(packet.meta.port, packet.bytes());
        let seen = tuple.map(|tuple| {
            let from_vip = self.internet.vip(tuple.src).is_some();
            watch.aliases.flow_of(&tuple, from_vip)
        });
        let flow = seen.map(|(flow, _)| flow);
        let asked = flow.is_some_and(|flow| watch.watcher.asks(&flow));
        let answer = seen.is_some_and(|(_, answer)| answer);
        let why = flow.filter(|_| asked);
        let why = why.and_then(|flow| self.why_at_clb_node(node, &flow, answer));
        watch.flow = watch.flow.or(flow);
        watch.open.push(Frame {
            node: Some(node.index()),
            flow,
            asked,
            handled: Handled {
                at_s: self.now.as_secs_f64(),
                who: self.table.nodes[node.index()].name.clone(),
                answer,
                did: Vec::new(),
                why,
            },
            dropped: self.nodes[node.index()].ledger.dropped.clone(),
        });
        self.watch = Some(watch);
    }

    /// A packet leaves a client.
    #[cold]
    pub(super) fn begin_at_client(&mut self, population: PopulationId, packet: &Packet) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let flow = tuple_of(PortId::LOCAL, packet.bytes());
        let asked = flow.is_some_and(|flow| watch.watcher.asks(&flow));
        let why = flow.filter(|_| asked);
        watch.open.push(Frame {
            node: None,
            flow,
            asked,
            handled: Handled {
                at_s: self.now.as_secs_f64(),
                who: self.internet.population(population).name.clone(),
                answer: false,
                did: Vec::new(),
                why: why.and_then(|flow| self.why_entered(population, &flow)),
            },
            dropped: DropCounts::default(),
        });
        self.watch = Some(watch);
    }

    /// What was begun last is done.
    #[cold]
    pub(super) fn end_handling(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        if let Some(mut frame) = watch.open.pop() {
            if let Some(node) = frame.node {
                let dropped = &self.nodes[node].ledger.dropped;
                let news = dropped.iter();
                let news = news.filter(|(reason, count)| *count > frame.dropped.of(*reason));
                frame
                    .handled
                    .did
                    .extend(news.map(|(reason, _)| Did::Dropped {
                        reason: reason.name(),
                    }));
                if frame.asked && frame.handled.why.is_none() {
                    frame.handled.why = self.why_sent(node, &frame.handled.did);
                }
            }
            if let Some(flow) = frame.flow.filter(|_| frame.asked) {
                watch.watcher.handled(&flow, &frame.handled);
            }
            watch.done.push(frame.handled);
        }
        self.watch = Some(watch);
    }

    /// A node sends a packet.
    #[cold]
    pub(super) fn note_sent(&mut self, index: usize, packet: &Packet) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let port = packet.meta.port;
        let did = match port.kind() {
            Some(PortKind::Tunnel) => self.tunnelled(packet),
            Some(PortKind::Public) => Some(Did::LetOut),
            Some(PortKind::Vpc) => Some(Did::Routed),
            Some(PortKind::Backend) => Some(Did::GivenToBackend),
            Some(PortKind::Local) | None => None,
        };
        did.into_iter().for_each(|did| watch.note(did));
        let frame = watch.open.last();
        let own = frame.filter(|frame| frame.node == Some(index) && !frame.handled.answer);
        let flow = own.and_then(|frame| frame.flow);
        let behind = tuple_of(port, packet.bytes());
        if let Some((flow, behind)) = flow.zip(behind)
            && flow.protocol == behind.protocol
            && ![flow, flow.reversed()].contains(&behind)
        {
            watch.aliases.add(behind, flow);
        }
        self.watch = Some(watch);
    }

    fn tunnelled(&self, packet: &Packet) -> Option<Did> {
        let header = gre::parse(packet.bytes()).ok()?;
        let to = self.table.nodes.get(packet.meta.peer.index())?.name.clone();
        if header.protocol == gre::PROTOCOL_ENTRIES {
            return Some(Did::Replicated { to });
        }
        let (key, path) = header.key.zip(packet.meta.port.path())?;
        Some(Did::Tunnelled {
            to,
            over: self.table.paths[path.index()].name.clone(),
            slot: key.slot(),
            hop: key.hop(),
        })
    }

    /// A link took a packet, or did not.
    #[cold]
    pub(super) fn note_link(&mut self, link: LinkId, taken: Result<Instant, DropReason>) {
        let link = &self.links[link.index()].spec.name;
        if let Some(watch) = &mut self.watch {
            let link = link.clone();
            watch.note(match taken {
                Ok(arrival) => Did::OnLink {
                    link,
                    arrives_s: arrival.as_secs_f64(),
                },
                Err(reason) => Did::LinkLost {
                    link,
                    reason: reason.name(),
                },
            });
        }
    }

    /// A node tells of something.
    #[cold]
    pub(super) fn note_event(&mut self, event: &Event) {
        let Some(watch) = &mut self.watch else {
            return;
        };
        let did = match *event {
            Event::FlowOpened {
                target,
                target_port,
                ..
            } => Did::Opened {
                target: socket((target, target_port)),
            },
            Event::FlowTakenOver { .. } => Did::TookOver,
            _ => return,
        };
        watch.note(did);
    }

    /// A host was handed a packet.
    #[cold]
    pub(super) fn note_host(&mut self, outcome: Outcome) {
        if let Some(watch) = &mut self.watch {
            match outcome {
                Outcome::Delivered if watch.open.is_empty() => watch.received = true,
                Outcome::Delivered => watch.note(Did::Received),
                Outcome::Dropped(reason) if watch.open.is_empty() => watch.lost = Some(reason),
                Outcome::Dropped(reason) => watch.note(Did::Dropped {
                    reason: reason.name(),
                }),
                Outcome::Held => {}
            }
        }
    }

    /// A packet ended where no node, link or host counts it.
    #[cold]
    pub(super) fn note_lost(&mut self, reason: DropReason) {
        if let Some(watch) = &mut self.watch {
            if watch.open.is_empty() {
                watch.lost = Some(reason);
            }
            watch.note(Did::Dropped {
                reason: reason.name(),
            });
        }
    }

    /// What a node went by that sent a packet on.
    fn why_sent(&self, node: usize, did: &[Did]) -> Option<Why> {
        let sent = did.iter().find_map(|did| match did {
            Did::Tunnelled { to, slot, .. } => Some((to.as_str(), *slot)),
            _ => None,
        });
        let (to, slot) = sent?;
        self.why_slot(node, to, slot)
    }
}
