//! The operator: tells the controllers what the scenario orders, one after the other, by the API like anybody else.
//!
//! Every order is a write with a request id, so that repeating it does it once. While nobody can be asked the operator
//! goes on asking, and later orders wait. What is refused stands in the report beside its fault.
//!
//! A CLB node that is added is put in as one that is lost: nobody has seen it yet. The keeper takes it in as soon as a
//! majority sees it, and not before the others have ways to it.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::api::refusal_of;
use anyedge_ccn::author::Membership;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::object::{ClbNode, Key, Kind, Target};
use anyedge_net::host::Host as _;
use anyedge_topologies::{OPERATOR, Topology};
use tonic::Status;

use super::credentials::Credentials;
use super::{Services, controllers};
use crate::control::Beginning;
use crate::host::SimHost;
use crate::steward::{Order, TargetWeight};

/// How long an order is repeated: longer than any run.
const PATIENCE: Duration = Duration::from_secs(365 * 86_400);

/// The operator on its machine.
pub(super) fn add(
    topology: &Topology,
    beginning: Arc<Beginning>,
    credentials: Rc<Credentials>,
    services: &mut Services,
) {
    let controllers = controllers::addresses(topology);
    services.on_boot(OPERATOR, move |host| {
        let security = credentials.of_operator(&host);
        let client = Client::new(&host, controllers.clone(), security);
        let client = client.within(PATIENCE);
        host.spawn(operate(host.clone(), client, Arc::clone(&beginning)));
    });
}

async fn operate(host: SimHost, client: Client<SimHost>, beginning: Arc<Beginning>) {
    if beginning.is_cold {
        let content = match &beginning.content {
            Change::All(changes) => changes.as_slice(),
            one => core::slice::from_ref(one),
        };
        client
            .apply(content)
            .await
            .expect("what makes a table here makes one there");
    }
    let Some(orders) = host.with_world(|world| world.orders()) else {
        return;
    };
    let mut unseen = absent(&beginning.table);
    let mut news = orders.reader();
    loop {
        news.next(|_| ()).await;
        let mut issued = VecDeque::new();
        orders.change(|waiting| {
            issued.append(waiting);
            false
        });
        for mut issued in issued {
            if let Order::Member(name, membership) = &mut issued.order
                && *membership == Membership::In
                && unseen.remove(name)
            {
                *membership = Membership::Lost;
            }
            let changes = changes_of(&issued.order, &beginning.table);
            if let Err(status) = client.apply(&changes).await {
                let why = why_of(&status);
                host.with_world(|world| world.order_refused(&issued, &why));
            }
        }
    }
}

/// CLB nodes that are not there yet.
fn absent(table: &Table) -> BTreeSet<String> {
    let nodes = table.all::<ClbNode>();
    let absent = nodes.filter(|node| node.membership == Membership::Absent);
    absent.map(|node| node.name.clone()).collect()
}

fn why_of(status: &Status) -> String {
    let refusal = refusal_of(status).map(|refusal| refusal.to_string());
    refusal.unwrap_or_else(|| status.message().to_owned())
}

/// An order as changes of the table. Targets come back as the file, whose content `first` is, has them.
fn changes_of(order: &Order, first: &Table) -> Vec<Change> {
    let names = |targets: &[TargetWeight]| targets.iter().map(name_of).collect::<Vec<_>>();
    match order {
        Order::Member(name, membership) => vec![Change::SetMember {
            clb_node: name.clone(),
            membership: Some(*membership),
            weight: None,
        }],
        Order::NodeWeight(name, weight) => vec![Change::SetMember {
            clb_node: name.clone(),
            membership: None,
            weight: Some((*weight).into()),
        }],
        Order::Draining(name, draining) => {
            vec![Change::SetDraining(Key::new(Kind::Pop, name), *draining)]
        }
        Order::PathDraining(name, draining) => {
            vec![Change::SetDraining(Key::new(Kind::Path, name), *draining)]
        }
        Order::Targets(targets) => {
            let weigh = |target: &TargetWeight| {
                Change::SetTargetWeight(vec![name_of(target)], target.weight.into())
            };
            targets.iter().map(weigh).collect()
        }
        Order::Bound(targets, false) => vec![Change::DeregisterTargets(names(targets))],
        Order::Bound(targets, true) => {
            let of = |name: &String| first.get::<Target>(name).cloned();
            let targets = names(targets).iter().filter_map(of).collect();
            vec![Change::RegisterTargets(targets)]
        }
        Order::Change(change) => vec![Change::clone(change)],
    }
}

/// The full name of a target of a listener without rules.
fn name_of(target: &TargetWeight) -> String {
    let (address, port) = target.target;
    let own = core::net::SocketAddr::new(address.into(), port);
    format!("{}/{}/{own}", target.clb, target.listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_net::flow::Address;

    #[test]
    fn a_target_goes_by_the_name_that_the_table_gives_it() {
        let target = |address: Address| TargetWeight {
            clb: "main".to_owned(),
            listener: "web".to_owned(),
            target: (address, 80),
            weight: 7,
        };
        let v4 = target(Address::v4([10, 0, 0, 1]));
        assert_eq!(name_of(&v4), "main/web/10.0.0.1:80");
        let order = Order::Targets(vec![v4]);
        let weighed = Change::SetTargetWeight(vec!["main/web/10.0.0.1:80".to_owned()], 7);
        assert_eq!(changes_of(&order, &Table::new()), [weighed]);
    }
}
