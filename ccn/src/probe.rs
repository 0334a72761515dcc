//! Prober: watches the node's own paths in band, one session for each path and peer.
//!
//! Probes take the tunnels that packets take, so they meet what packets meet; some are as large as the largest, so
//! that a path whose MTU has shrunk is known by its losses (RFC 8899 §4.1). What sessions find goes into
//! [`Exits`], which chooses paths by it, and out as events. A probe counts as originated where it is made and as
//! dropped for [`DropReason::Probe`] where it is taken in; a tunnel's peer is known by its underlay address, and
//! only the far end of a session's own path is listened to.
//!
//! Invariant: sessions are those of `Exits::links`, in the same order. Reference: RFC 5880 (BFD, asynchronous mode).

pub mod message;

mod heard;
mod round_trip;
mod session;

use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Probing, RouteTable};
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::wire::gre::{self, GreKey};

use crate::exits::{Exits, LinkName};
use message::Message;
use session::{Session, Taken};

pub use session::Standing;

/// Outer DSCP of probes: CS6, network control (RFC 4594 §3.2).
const TOS: u8 = 0xc0;

/// Of each session's probes one in so many is as large as the largest packet that its path carries.
pub const FULL_SIZE_EVERY: u32 = 4;

/// The GRE key of a probe: no load balancer's, so it is never looked up.
const KEY: GreKey = GreKey(0);

/// A node's sessions.
pub struct Prober {
    own_name: String,
    seed: Seed,
    revision: u32,
    full_size: bool,
    sessions: Vec<Watched>,
    /// Of which links the sessions are, by [`Exits::laid`].
    laid: u64,
    /// No session is due before.
    wake_at: Option<Instant>,
    was_known: bool,
}

/// A session and what was told of it.
struct Watched {
    name: LinkName,
    session: Session,
    /// Its link is no tunnel: nothing is sent, and silence says nothing.
    is_mute: bool,
    told_up: Option<bool>,
    told_grey: bool,
    /// Whom the peer said that it reaches, and by which revision's numbers.
    reaches: Option<(u32, u128)>,
}

impl Watched {
    /// When its session is to be looked at, if ever.
    fn due_at(&self) -> Option<Instant> {
        (!self.is_mute).then(|| self.session.due_at())
    }
}

/// Whether a packet from a tunnel says that it is a probe.
#[inline]
pub fn is_probe(bytes: &[u8]) -> bool {
    bytes.get(2..4) == Some(&gre::PROTOCOL_PROBE.to_be_bytes())
}

impl Prober {
    /// The prober of the node of that full name: without sessions until [`Prober::renew`].
    pub fn new(own_name: &str, seed: Seed) -> Prober {
        Prober {
            own_name: own_name.to_owned(),
            seed,
            revision: 0,
            full_size: false,
            sessions: Vec::new(),
            laid: 0,
            wake_at: None,
            was_known: false,
        }
    }

    /// Takes over the links of `exits`, which were made of `table`: sessions go on by the names of their path
    /// and peer. Without probing in the table there are none, and every link is up.
    pub fn renew(&mut self, now: Instant, table: &RouteTable, exits: &mut Exits) {
        self.revision = table.revision.0 as u32;
        self.full_size = table.mechanisms.full_size_probes;
        let count = table.probing.map_or(0, |_| exits.links().len());
        if (self.laid, self.sessions.len()) != (exits.laid(), count) {
            self.lay(now, table.probing, exits);
        }
        if let Some(probing) = table.probing {
            for (watched, link) in self.sessions.iter_mut().zip(exits.links()) {
                let session = &mut watched.session;
                session.retune(probing, table.mechanisms, link.declared());
            }
        }
        for index in 0..exits.links().len() {
            let watched = self.sessions.get(index).filter(|known| !known.is_mute);
            let standing = watched.map_or(Standing::Up, |watched| watched.session.standing());
            let reaches = watched.and_then(|watched| self.reaches(watched));
            exits.set_standing(index, standing, reaches);
            let declared = exits.links()[index].declared();
            exits.set_cost(
                index,
                watched.map_or(declared, |watched| watched.session.cost()),
            );
        }
        exits.refresh(now);
        self.plan();
    }

    /// A session for each link; those that there were go on.
    fn lay(&mut self, now: Instant, probing: Option<Probing>, exits: &Exits) {
        self.laid = exits.laid();
        let mut before: BTreeMap<LinkName, Watched> = self
            .sessions
            .drain(..)
            .map(|watched| (watched.name.clone(), watched))
            .collect();
        let Some(probing) = probing else {
            return;
        };
        for link in exits.links() {
            let known = before.remove(&link.name);
            let known = known.filter(|known| known.is_mute == link.is_plain);
            let watched = known.unwrap_or_else(|| {
                let purpose = format!("probe {} {}", link.name.path, link.name.peer);
                let rng = self.seed.stream(&self.own_name, &purpose);
                Watched {
                    name: link.name.clone(),
                    session: Session::begin(now, rng, probing, link.declared()),
                    is_mute: link.is_plain,
                    told_up: None,
                    told_grey: false,
                    reaches: None,
                }
            });
            self.sessions.push(watched);
        }
    }

    /// Takes a probe in, whatever it says: the packet ends here. Gives the peer if that brought its session back up:
    /// it was restarted, or cut off from this node.
    #[cold]
    pub fn take(
        &mut self,
        now: Instant,
        packet: Packet,
        exits: &mut Exits,
        out: &mut Outbox,
    ) -> Option<NodeId> {
        let heard = self.hear(now, &packet, exits);
        let reason = heard.err().unwrap_or(DropReason::Probe);
        out.drop_packet(packet, reason);
        let index = heard.ok()?;
        let was_down = self.sessions[index].told_up == Some(false);
        self.settle(now, index, exits, out);
        exits.refresh(now);
        let watched = &self.sessions[index];
        self.wake_at = self.wake_at.into_iter().chain(watched.due_at()).min();
        let is_back = was_down && watched.told_up == Some(true);
        is_back.then(|| exits.links()[index].peer)
    }

    /// Whether a peer has told that this node was there before it began: it had a session with it already.
    pub const fn was_known(&self) -> bool {
        self.was_known
    }

    /// Sends the probes that are due, and notes who was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant, exits: &mut Exits, out: &mut Outbox) {
        if self.wake_at.is_some_and(|at| at <= now) {
            for index in 0..self.sessions.len() {
                if self.sessions[index].due_at().is_some_and(|at| at <= now) {
                    self.sessions[index].session.on_time(now);
                    self.settle(now, index, exits, out);
                }
            }
            self.plan();
        }
        exits.refresh(now);
    }

    /// When to call [`Prober::handle_timeout`] next, for the sessions or for the choice among paths.
    #[inline]
    pub fn poll_timeout(&self, exits: &Exits) -> Option<Deadline> {
        let probes = Deadline::or_due(None, self.wake_at, "paths are probed");
        Deadline::earlier(probes, exits.poll_timeout())
    }

    /// Finds the session of a probe and lets it hear.
    fn hear(&mut self, now: Instant, packet: &Packet, exits: &Exits) -> Result<usize, DropReason> {
        let header = gre::parse(packet.bytes()).map_err(|_| DropReason::BadGre)?;
        if header.protocol != gre::PROTOCOL_PROBE || header.key != Some(KEY) {
            return Err(DropReason::BadGre);
        }
        let body = packet.bytes().get(header.header_len..).unwrap_or_default();
        let message = message::parse(body).map_err(|_| DropReason::Malformed)?;
        let path = packet.meta.port.path().ok_or(DropReason::WrongPort)?;
        let index = exits.link(path, packet.meta.peer);
        let index = index.ok_or(DropReason::UnknownPeer)?;
        let watched = self.sessions.get_mut(index).filter(|known| !known.is_mute);
        let watched = watched.ok_or(DropReason::UnknownPeer)?;
        match watched.session.on_message(now, &message) {
            Taken::Newest => {
                self.was_known |= watched.session.was_known;
                watched.reaches = Some((message.revision, message.reaches));
                Ok(index)
            }
            Taken::Overtaken => Ok(index),
            Taken::Foreign => Err(DropReason::Malformed),
        }
    }

    /// Acts upon what a session knows: tells of it, and sends its probe if that is due.
    fn settle(&mut self, now: Instant, index: usize, exits: &mut Exits, out: &mut Outbox) {
        let reaches = self.reaches(&self.sessions[index]);
        let Watched {
            session,
            told_up,
            told_grey,
            ..
        } = &mut self.sessions[index];
        let standing = session.standing();
        exits.set_standing(index, standing, reaches);
        exits.set_cost(index, session.cost());
        let link = &exits.links()[index];
        let (path, peer, inner_mtu) = (link.path, link.peer, link.inner_mtu);
        let grey = matches!(standing, Standing::Grey { .. });
        if grey != *told_grey {
            *told_grey = grey;
            out.event(Event::PathGrey { path, peer, grey });
        }
        let proven = session.proven();
        if proven != *told_up {
            *told_up = proven;
            let up = proven == Some(true);
            if up {
                exits.set_proven(index);
            }
            out.event(Event::PeerState { path, peer, up });
        }
        if session.send_at <= now {
            let message = Message {
                revision: self.revision,
                reaches: exits.tells(index),
                ..session.message(now)
            };
            let is_full = self.full_size && message.sequence.is_multiple_of(FULL_SIZE_EVERY);
            let len = if is_full { usize::from(inner_mtu) } else { 0 };
            let is_sent = send(&message, len, (PortId::tunnel(path), peer), out);
            session.sent(now, is_sent);
        }
    }

    /// Whom the peer of a session reaches, in the numbers of this revision; `None` when it did not say.
    fn reaches(&self, watched: &Watched) -> Option<u128> {
        let (revision, reaches) = watched.reaches?;
        (revision == self.revision).then_some(reaches)
    }

    fn plan(&mut self) {
        self.wake_at = self.sessions.iter().filter_map(Watched::due_at).min();
    }
}

/// Sends a probe, padded with zeros to `len` bytes behind its GRE header; false when no packet slot is free.
fn send(message: &Message, len: usize, (port, peer): (PortId, NodeId), out: &mut Outbox) -> bool {
    let Some(mut packet) = out.originate(gre::HEADER_LEN + len.max(message::LEN)) else {
        return false;
    };
    let bytes = packet.bytes_mut();
    gre::write(bytes, gre::PROTOCOL_PROBE, KEY);
    let (said, padding) = bytes[gre::HEADER_LEN..].split_at_mut(message::LEN);
    said.copy_from_slice(&message.write());
    padding.fill(0);
    let entropy = message.my_discriminator as u16;
    out.transmit_tunnel(packet, port, peer, entropy, TOS);
    true
}

#[cfg(test)]
mod tests;
