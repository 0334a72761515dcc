//! Security: whom the groups of this host let open a flow to its backends.
//!
//! They are asked for a packet that no tuple knows, by its source as it is on the wire here, most often the client's
//! own, and the backend's port, which the CLB node has put in. So answers need no rule, and flows that are there
//! outlive a change, unless `flush_on_change` says otherwise. Nobody hears of a packet that is refused. A health check
//! comes from the VIP and needs a rule like any other packet. Later fragments have no ports and are not asked about:
//! without their first one nobody puts them together.

use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::FlowKey;
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::route_table::{Clb, ProbeSource, RouteTable};
use anyedge_net::security_group::Filter;
use anyedge_net::switch;
use anyedge_net::wire::Parsed;
use anyedge_net::wire::gre::GreKey;

use super::VSwitch;

/// The filter of this host; without groups none, and everybody passes.
#[derive(Default)]
pub(super) struct Guard(Option<Arc<Filter>>);

impl Guard {
    /// Whether the sender may open `flow`, which came with the key of a load balancer.
    fn admits(&self, routes: &RouteTable, key: GreKey, flow: &FlowKey) -> bool {
        let Some(filter) = &self.0 else {
            return true;
        };
        let mut asked = *flow;
        if !switch::is_on("S-SG04") {
            asked.dst_port = 0;
        }
        let accepted = filter.admits(&asked) && switch::is_on("S-SG08");
        accepted || is_excused(routes, key, flow)
    }

    fn is(&self, filter: Option<&Arc<Filter>>) -> bool {
        match (&self.0, filter) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Whether a load balancer takes the word of its own groups for this host's, or its health checks need none.
#[cold]
fn is_excused(routes: &RouteTable, key: GreKey, flow: &FlowKey) -> bool {
    let Some(clb) = routes.clbs.get(usize::from(key.clb_id())) else {
        return false;
    };
    if clb.security.passes_by_default && switch::is_on("P-SG2") {
        return true;
    }
    let exempt = clb.security.probes_exempt;
    let exempt = exempt && switch::is_on("S-SG06") && switch::is_on("S-SG10");
    if !exempt && switch::is_on("S-SG05") {
        return false;
    }
    let vip = routes.vips.get(&flow.src);
    let of_vip = vip.is_some_and(|vip| vip.clb == ClbId(key.clb_id()));
    of_vip || ProbeSource::is_shared(&flow.src) && checks_from_shared(clb)
}

/// Whether a listener has its targets checked from 100.64.0.0/10: else such a source is a client's.
fn checks_from_shared(clb: &Clb) -> bool {
    let mut checks = clb.listeners.iter().filter_map(|it| it.health.as_ref());
    clb.snat.nat64 || checks.any(|check| check.source == ProbeSource::Shared)
}

impl VSwitch {
    /// Refuses a packet that may not open its flow.
    #[inline]
    pub(super) fn admit(&self, parsed: &Parsed, key: GreKey) -> Result<(), DropReason> {
        let refused = !self.guard.admits(&self.routes, key, &parsed.flow);
        if refused && switch::is_on("S-SG07") && switch::is_on("S-SG11") {
            return Err(DropReason::TargetSecurityGroup);
        }
        Ok(())
    }

    /// Takes over what the routes in force say of the groups of `own`.
    pub(super) fn renew_guard(&mut self, own: NodeId) {
        let security = &self.routes.security;
        let filter = security.hosts.get(&own);
        if self.guard.is(filter) || !switch::is_on("S-SG01") {
            return;
        }
        self.guard = Guard(filter.cloned());
        if security.flush_on_change {
            let (guard, routes) = (&self.guard, &self.routes);
            self.tuples
                .retain(|key, flow| guard.admits(routes, key, flow));
        }
    }
}
