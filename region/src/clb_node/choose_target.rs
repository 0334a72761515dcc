//! Choosing a target: what happens to the packet that opens a flow, and to no other.
//!
//! Listener, then scheduler, then a path to the target's host, then the table. A refusal leaves nothing
//! behind but the scheduler's step, so that the client's next try may meet another target.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp;

use super::ClbNode;
use super::ingress::FlowAndExit;
use super::replicate::tell_closed;
use super::staging::{Entrance, Staged};
use crate::connection_table::{Opening, Refusal};

impl ClbNode {
    /// Opens the flow of `staged` and returns its number and the way to its host.
    pub(super) fn open(
        &mut self,
        now: Instant,
        staged: &Staged,
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
        let spread_hash = self.spread_hash(entrance.clb, parsed, *hash);
        let listener = self
            .served
            .listener(entrance.clb, flow.protocol, flow.dst_port)
            .ok_or(DropReason::NoListener)?;
        if self.connections.is_full() {
            return Err(DropReason::TableFull);
        }
        let number = listener.number();
        let target = listener
            .pick(flow.family(), spread_hash)
            .ok_or(DropReason::NoTarget)?;
        let exit = self.exit_to_host(target.host, packet.wire_len())?;
        let opening = Opening {
            key: flow,
            target: target.address,
            target_port: target.port,
            host: target.host,
            pop: entrance.pop,
            clb: entrance.clb,
            slot: entrance.slot,
            listener: number,
        };
        let first = (parsed, packet.bytes());
        let hashed = (*hash, &self.routes.hash_key);
        let id = match self
            .connections
            .open(now, &opening, first, hashed, |over| tell_closed(over, out))
        {
            Ok(id) => id,
            Err(Refusal::TableFull) => return Err(DropReason::TableFull),
            Err(Refusal::TupleTaken) => return Err(DropReason::TupleTaken),
        };
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
}
