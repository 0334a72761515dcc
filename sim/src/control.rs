//! The control plane of a run whose route tables come from controllers, as far as it is the world's.
//!
//! Controllers, agents and the operator are services on machines of their own ([`crate::services`]); here is where
//! they meet the world: the route tables that nodes were given, the orders that wait for the operator, and the account
//! of elections, commands and revisions.

mod account;
mod tables;

use std::collections::{BTreeMap, VecDeque};

use anyedge_ccn::agent::AgentHandle;
use anyedge_ccn::rpc::Latest;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::object::Target;
use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::time::Instant;

use crate::steward::Order;

pub(crate) use account::Account;
pub(crate) use tables::Tables;

/// An order of the scenario.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// When it was given.
    pub(crate) at: Instant,
    /// The object of its fault.
    pub(crate) object: String,
    pub(crate) order: Order,
}

/// Orders that the operator has yet to carry out, first come first served: as many as the file has faults.
pub(crate) type Orders = Latest<VecDeque<Issued>>;

/// What of the control plane is the world's.
pub(crate) struct Control {
    pub(crate) tables: Tables,
    pub(crate) account: Account,
    pub(crate) orders: Orders,
    /// The agents of nodes whose machines run, to be told what forwarders find out.
    pub(crate) agents: BTreeMap<NodeId, AgentHandle>,
    /// Targets of the file by their addresses, which are all that forwarders tell of them.
    pub(crate) targets: BTreeMap<(Address, u16), Vec<String>>,
}

impl Control {
    /// A control plane that begins with `table`, of which `tables` were made; `later`: targets that may come yet.
    pub(crate) fn new(
        tables: Tables,
        table: &Table,
        later: impl Iterator<Item = Target>,
    ) -> Control {
        let mut targets = BTreeMap::<_, Vec<String>>::new();
        for target in table.all::<Target>().cloned().chain(later) {
            // Ports were checked when the target came in.
            let at = (target.address, target.port as u16);
            targets.entry(at).or_default().push(target.full_name());
        }
        Control {
            agents: BTreeMap::new(),
            targets,
            tables,
            account: Account::new(table.revision()),
            orders: Orders::new(VecDeque::new()),
        }
    }
}

/// What controllers begin with.
#[derive(Clone)]
pub(crate) struct Beginning {
    /// The file's content as a table of revision 1.
    pub(crate) table: Table,
    /// The same as the one change that makes it.
    pub(crate) content: Change,
    /// Nobody has it yet.
    pub(crate) is_cold: bool,
}
