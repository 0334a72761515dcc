//! What the routes say of security groups: one compiled filter for each object that has some.
//!
//! A filter is shared between versions while the groups behind it are the same, so that a forwarder sees by its
//! pointer whether they changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::NodeId;
use crate::security_group::Filter;

/// Who may open flows to backends.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Hosts that have groups; to any other host everybody may.
    pub hosts: BTreeMap<NodeId, Arc<Filter>>,
    /// Flows that are there end when their groups no longer accept them.
    pub flush_on_change: bool,
}

/// Who may open flows to a load balancer.
#[derive(Clone, Debug, Default)]
pub struct ClbSecurity {
    /// By its own groups; `None`: everybody.
    pub filter: Option<Arc<Filter>>,
    /// What its groups accept is not asked about again at the backend.
    pub passes_by_default: bool,
    /// Its health checks are not asked about at the backend.
    pub probes_exempt: bool,
}

impl ClbSecurity {
    /// Whether both are by the same filter.
    pub fn has_filter_of(&self, other: &ClbSecurity) -> bool {
        match (&self.filter, &other.filter) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Security {
    /// Whether both are by the same filters and of the same mind about flows that are there.
    pub fn is_as(&self, other: &Security) -> bool {
        self.flush_on_change == other.flush_on_change
            && self.hosts.len() == other.hosts.len()
            && self.hosts.iter().zip(&other.hosts).all(|(one, other)| {
                let ((host, one), (other_host, other)) = (one, other);
                host == other_host && Arc::ptr_eq(one, other)
            })
    }
}
