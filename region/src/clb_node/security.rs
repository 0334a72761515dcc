//! Security: whom the groups of a load balancer let open a flow.
//!
//! They are asked before anything else is done about a packet that would open a flow, by the client's address and the
//! listener's port: before the SYN gate, since whom the groups refuse hears nothing, and before scheduling. Flows that
//! are there are asked about again only when a table changes the groups and `flush_on_change` is on.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::FlowEnd;
use anyedge_net::id::ClbId;
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::{Clb, RouteTable, Shared};
use anyedge_net::switch;
use anyedge_net::wire::Parsed;

use super::ClbNode;
use super::replicate::tell_closed;

impl ClbNode {
    /// Refuses a packet that may not open its flow.
    #[inline]
    pub(super) fn pass_groups(&self, parsed: &Parsed, clb: ClbId) -> Result<(), DropReason> {
        let clb = self.routes.clbs.get(clb.index());
        let filter = clb.and_then(|clb| clb.security.filter.as_ref());
        match filter {
            Some(filter) if !filter.admits(&parsed.flow) && switch::is_on("S-SG14") => {
                Err(DropReason::ClbSecurityGroup)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Forgets the flows that the groups of their load balancers no longer accept, where `old` had others. The client
    /// hears nothing of it; the target's next segment is one of no flow, and is reset.
    pub(super) fn flush_refused(&mut self, old: &RouteTable, out: &mut Outbox) {
        if !self.routes.security.flush_on_change {
            return;
        }
        let changed = |name: &str, id: usize| {
            let is_it = |clb: &&Shared<Clb>| clb.name == name;
            let before = old.clbs.get(id).filter(is_it);
            let before = before.or_else(|| old.clbs.iter().find(is_it));
            let now = &self.routes.clbs[id].security;
            before.is_none_or(|before| !before.security.has_filter_of(now))
        };
        let clbs = self.routes.clbs.iter().enumerate();
        let changed: Vec<bool> = clbs.map(|(id, clb)| changed(&clb.name, id)).collect();
        if !changed.contains(&true) {
            return;
        }
        for id in 0..self.connections.numbers() {
            let Some(flow) = self.connections.held(id) else {
                continue;
            };
            let clb = flow.clb.index();
            let filter = self.routes.clbs.get(clb);
            let filter = filter.and_then(|clb| clb.security.filter.as_ref());
            let refused = filter.is_some_and(|filter| !filter.admits(&flow.key));
            if refused && changed.get(clb) == Some(&true) {
                let mut over = self.connections.close(id);
                over.end = FlowEnd::Refused;
                tell_closed(&over, out);
            }
        }
    }
}
