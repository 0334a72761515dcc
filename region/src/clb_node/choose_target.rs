//! Choosing a target: what happens to the packet that opens a flow, and to no other.
//!
//! Listener with its limits, then the target where the client stays or the scheduler's, then a path to the target's
//! host, then the table. A refusal leaves nothing behind but the scheduler's step, so that the client's next try may
//! meet another target.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::flow::FlowKey;
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::Target;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp;

use super::ClbNode;
use super::ingress::FlowAndExit;
use super::replicate::tell_closed;
use super::staging::{Entrance, Staged};
use crate::connection_table::{Opening, Refusal};
use crate::scheduler::{Newcomer, counts_loads, hashes_clients};
use crate::snat::AtTarget;
use crate::telling::Telling;

impl ClbNode {
    /// Opens the flow of `staged` and returns its number and the way to its host.
    pub(super) fn open(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) -> Result<FlowAndExit, DropReason> {
        let Staged {
            packet,
            parsed,
            hash,
            ..
        } = staged;
        let flow = parsed.flow;
        let (number, idle_s, target) = self.target_for(now, staged, entrance.clb)?;
        let len = staged.len_in(target.address.family());
        let exit = self.exit_to_host(target.host, len)?;
        let source = self.source_of_new(now, (&flow, &target), entrance.clb)?;
        let listener = self
            .served
            .listener(entrance.clb, flow.protocol, flow.dst_port);
        let telling = listener.map_or(Telling::default(), |listener| listener.telling(&flow));
        let opening = Opening {
            key: flow,
            at_target: AtTarget::new(target.address, source),
            target_port: target.port,
            host: target.host,
            pop: entrance.pop,
            clb: entrance.clb,
            slot: entrance.slot,
            listener: number,
            idle_s,
            telling,
        };
        let first = (&**parsed, packet.bytes());
        let hashed = (*hash, &self.routes.hash_key);
        let id = match self
            .connections
            .open(now, &opening, first, hashed, |over| tell_closed(over, out))
        {
            Ok(id) => id,
            Err(Refusal::TableFull) => return Err(DropReason::TableFull),
            Err(Refusal::TupleTaken) => return Err(DropReason::TupleTaken),
        };
        self.count_opened(now, (number, entrance.clb), (&flow, &target));
        if flow.protocol == tcp::PROTOCOL {
            self.count_syn(now, number, out);
        }
        out.event(Event::FlowOpened {
            flow,
            target: target.address,
            target_port: target.port,
            pop: entrance.pop,
        });
        self.tell_opened(now, id, out);
        if staged.asker != NodeId::UNKNOWN {
            self.hand_back(id, staged.asker, out);
        }
        Ok((id, exit))
    }

    /// The listener that `staged` asks for, by its number and its idle timeout, and the target that its flow gets.
    fn target_for(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        clb: ClbId,
    ) -> Result<(u16, u16, Target), DropReason> {
        let flow = staged.parsed.flow;
        if flow.dst.v6_octets().is_some() && !switch::is_on("S-V610") {
            return Err(DropReason::NoListener);
        }
        if is_of_vpc(&flow) && switch::is_on("S-V605") {
            return Err(DropReason::PrivateClient);
        }
        let family = self.target_family(&flow, clb);
        let spread_hash = self.spread_hash(clb, staged.parsed, staged.hash);
        let room = self
            .served
            .has_room(now, clb, self.connections.loads(), self.part);
        let listener = self
            .served
            .listener(clb, flow.protocol, flow.dst_port)
            .filter(|_| flow.protocol == tcp::PROTOCOL || switch::is_on("S-AC12"))
            .ok_or(DropReason::NoListener)?;
        if self.connections.is_full() {
            return Err(DropReason::TableFull);
        }
        let (number, idle_s) = (listener.number(), listener.idle_s());
        let loads = self.connections.loads();
        room?;
        listener.has_room(now, loads.active_of(number), self.part)?;
        let hash_key = &self.routes.hash_key;
        if listener.listener().session_expire.is_some() && switch::is_on("P-LB05") {
            let stays = self
                .persistence
                .target_of(now, (number, &flow.src), hash_key);
            if let Some(target) = stays.and_then(|server| listener.target_at(server)) {
                return Ok((number, idle_s, target));
            }
        }
        let newcomer = Newcomer {
            family,
            hash: if hashes_clients(listener.listener()) {
                hash_key.hash_bytes(flow.src.octets())
            } else {
                spread_hash
            },
        };
        let target = listener
            .pick(newcomer, loads.servers(number))
            .ok_or(DropReason::NoTarget)?;
        Ok((number, idle_s, target))
    }

    /// Notes what a new flow means for the ones that follow.
    fn count_opened(
        &mut self,
        now: Instant,
        (number, clb): (u16, ClbId),
        (flow, target): (&FlowKey, &Target),
    ) {
        self.served.count_opened(clb);
        let listener = self.served.listener(clb, flow.protocol, flow.dst_port);
        let Some(listener) = listener else {
            return;
        };
        listener.count_opened();
        if counts_loads(listener.listener()) {
            self.gossip.begin(now);
        }
        if let Some(expire) = listener.listener().session_expire {
            let client = (number, flow.src);
            let server = (target.address, target.port);
            let hash_key = &self.routes.hash_key;
            self.persistence.stay(now, client, server, expire, hash_key);
        }
    }
}

/// Whether a flow comes from a private IPv6 address (RFC 4193): IPv6 load balancers are public, and clients beside their
/// targets do not reach them from within.
fn is_of_vpc(flow: &FlowKey) -> bool {
    let octets = flow.src.v6_octets();
    octets.is_some_and(|[first, ..]| first & 0xfe == 0xfc)
}
