//! Inside a region: the CLB node, which gives each flow a target and keeps it there, and the vSwitch at each
//! backend's host.
//!
//! [`clb_node`] and [`vswitch`] are forwarders: pure state machines that either world drives. Both remember
//! flows in the same bounded table ([`flow_table`], found by `flow_index`, forgotten by [`expiry`]), agree on how
//! long a flow lives ([`flow_life`], [`tcp_state`]) and know packets in pieces ([`fragment_table`]).

pub mod clb_node;
pub mod connection_table;
mod edits;
mod expected;
pub mod expiry;
mod flow_index;
pub mod flow_life;
pub mod flow_table;
pub mod fragment_table;
pub mod health;
mod loads;
mod peer;
mod persistence;
mod scheduler;
mod snat;
pub mod tcp_state;
mod telling;
mod unbinding;
pub mod vswitch;

#[cfg(test)]
mod testbed;

pub use clb_node::ClbNode;
pub use vswitch::VSwitch;

/// How much a node may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Flows held at a time; their memory is reserved at construction and touched when first used.
    pub flows_max: usize,
    /// Flows that the indices are laid out for at construction. Above it they are laid out anew at a doubling; few flows
    /// in an index that is large for them are far from each other in memory.
    pub flows_indexed: usize,
}

impl Limits {
    /// All laid out at construction, so that no packet waits for it.
    pub const fn of(flows_max: usize) -> Limits {
        Limits {
            flows_max,
            flows_indexed: flows_max,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::of(connection_table::FLOWS_MAX)
    }
}
