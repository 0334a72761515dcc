//! Passive checks: targets that refuse clients.
//!
//! A target that answers a client's SYN with a RST has failed to serve it. Where the listener asks for it, that counts,
//! and a target that fails often gets no new flow for a while, whatever its own checks say. The client does not hear of
//! it as long as there is another target: its flow is forgotten, and the SYN that it sends again opens one there.

use anyedge_net::outbox::Outbox;
use anyedge_net::time::Instant;

use super::ClbNode;
use crate::connection_table::Role;

impl ClbNode {
    /// The target of a flow sends a RST: whether it refuses the client, who may try another.
    #[cold]
    pub(super) fn sends_to_another(&mut self, now: Instant, id: u32, out: &mut Outbox) -> bool {
        let flow = self.connections.flow(id);
        if flow.role != Role::Own || !flow.life().is_half_open() {
            return false;
        }
        let (clb, key, server) = (flow.clb, flow.key, flow.server());
        let Some(served) = self.served.listener(clb, key.protocol, key.dst_port) else {
            return false;
        };
        let health = served.listener().health.as_ref();
        let Some(asked) = health.filter(|asked| asked.passive) else {
            return false;
        };
        let group = (clb, server.0, server.1);
        let changed = self.checks.on_refused(now, group, asked);
        let has_other = served.has_other_than(server);
        if let Some(check) = changed {
            self.on_health(now, check, out);
        }
        if has_other {
            self.forget_refused(id, out);
        }
        has_other
    }
}
