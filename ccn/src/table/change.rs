//! What is asked of the table: a command with its time, its conditions and its change.
//!
//! Changes are few: an object is put or removed, and what the product has a verb for has one here. A list of
//! changes holds together: all of it, or nothing. A stage is such a list that waits.

use anyedge_net::flow::Address;
use anyedge_net::time::Instant;

use super::object::{Key, Object, ScalingServer, Target};
use crate::table::membership::Membership;

/// A change of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// All of them or none; checks see what comes of all together.
    All(Vec<Change>),
    /// An object comes in or is replaced.
    Put(Object, PutMode),
    /// An object that nothing refers to goes.
    Remove(Key),
    /// Targets come in, each by itself.
    RegisterTargets(Vec<Target>),
    /// Targets go, by name, each by itself.
    DeregisterTargets(Vec<String>),
    /// Targets get this weight, each by itself.
    SetTargetWeight(Vec<String>, i32),
    /// Targets get this port, each by itself.
    SetTargetPort(Vec<String>, u32),
    /// A POP, CLB node or path is emptied or taken back.
    SetDraining(Key, bool),
    /// A CLB node's part in its region's slots.
    SetMember {
        /// Its full name.
        clb_node: String,
        /// Whether it takes part; `None`: as before.
        membership: Option<Membership>,
        /// 0-100; `None`: as before.
        weight: Option<i32>,
    },
    /// A VIP's load balancer; an empty name unbinds it.
    BindVip {
        /// The VIP.
        vip: String,
        /// The load balancer.
        clb: String,
    },
    /// Who announces a VIP.
    SetPublishDomain {
        /// The VIP.
        vip: String,
        /// Full names of POPs.
        publish: Vec<String>,
    },
    /// Whether a VIP is announced at all.
    SetPublished {
        /// The VIP.
        vip: String,
        /// Whether it is.
        published: bool,
    },
    /// A CLB node gets blocks of SNAT ports.
    LeaseSnat {
        /// The load balancer.
        clb: String,
        /// The node's full name.
        node: String,
        /// How many.
        blocks: u32,
    },
    /// SNAT blocks are given back, by name, each by itself.
    ReleaseSnat(Vec<String>),
    /// An interface goes to another host; an empty name detaches it.
    MoveEni {
        /// The interface.
        eni: String,
        /// The host's full name.
        host: String,
    },
    /// CCN routes are turned on or off, by name, each by itself.
    EnableRoutes(Vec<String>, bool),
    /// Changes are added to a stage.
    Stage(Stage),
    /// What waits in a stage takes effect.
    ApplyStage(String),
    /// What waits in a stage is forgotten.
    DiscardStage(String),
    /// Which security groups a load balancer or a host has.
    SetSecurityGroups {
        /// The load balancer or the host.
        key: Key,
        /// All of them, in order.
        groups: Vec<String>,
    },
    /// Servers of an auto-scaling group come and go, all or none.
    Scale {
        /// The group.
        group: String,
        /// Who joins it.
        joins: Vec<ScalingServer>,
        /// Addresses of those that leave it.
        leaves: Vec<Address>,
    },
    /// Nothing but the time goes on: slots settle.
    Settle,
    /// The table holds these objects and no others, but for its secrets, which stay.
    Restore(Vec<Object>),
}

/// How an object comes into the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// It is not there yet.
    Create,
    /// It is there.
    Update,
    /// Either.
    Ensure,
}

/// Changes that have no effect until they are applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Bare name.
    pub name: String,
    /// In the order in which they were staged.
    pub changes: Vec<Change>,
}

/// What must hold, or a command is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// Which object.
    pub key: Key,
    /// The revision of its last change; 0: it is not there.
    pub revision: u64,
}

/// What goes through the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Chosen by the client: a command of the same id applies once. Empty: none.
    pub request_id: String,
    /// Stamped by the leader.
    pub at: Instant,
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What it does.
    pub change: Change,
}

impl Command {
    /// A command without id and conditions.
    pub const fn new(at: Instant, change: Change) -> Command {
        Command {
            request_id: String::new(),
            at,
            conditions: Vec::new(),
            change,
        }
    }
}
