//! Controllers in a run: a member of the group on each controller's machine, on its simulated disk.
//!
//! Founders begin with the file's content as a snapshot, unless the run starts cold. A machine that comes back opens
//! its log; one that lost its disk joins as another member.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyedge_ccn::api::Api;
use anyedge_ccn::api::client::{self as api, Client};
use anyedge_ccn::controller::{Applied, Config, Controller, OnCommit, outcome_of};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::rpc::{ClientSecurity, Limits, Server, ServerSecurity};
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyedge_topologies::{AddressPair, Topology};
use bytes::Bytes;

use super::Services;
use super::credentials::Credentials;
use crate::control::Beginning;
use crate::host::SimHost;

/// Where controllers listen.
const PORT: u16 = 7_300;
/// What the number of a member grows by each time that its machine loses the disk: more than there are controllers.
const NUMBERS_APART: u64 = 16;
/// Before a member that is not let in asks again.
const JOIN_AGAIN: Duration = Duration::from_secs(1);
/// Connections that wait to be accepted.
const BACKLOG: usize = 1_024;

/// Where a machine's controller is.
fn at(address: &AddressPair) -> SocketAddr {
    let address = address.iter().next();
    SocketAddr::new(address.expect("both families are always there"), PORT)
}

/// Where all controllers are, by name.
pub(super) fn addresses(topology: &Topology) -> Vec<SocketAddr> {
    let controllers = topology.controllers.values();
    controllers
        .map(|controller| at(&controller.management))
        .collect()
}

/// A member on each controller's machine.
pub(super) fn add(
    topology: &Topology,
    beginning: &Arc<Beginning>,
    credentials: &Rc<Credentials>,
    services: &mut Services,
) {
    let peers: BTreeMap<u64, SocketAddr> = (1..).zip(addresses(topology)).collect();
    let founding = if beginning.is_cold {
        Bytes::new()
    } else {
        beginning.table.snapshot().into()
    };
    let patience = Patience {
        confirm: topology.publish_after,
        ..Patience::default()
    };
    for (number, controller) in (1..).zip(topology.controllers.values()) {
        let mut config = Config::new(number, peers.clone(), topology.election_timeout);
        config.founding = founding.clone();
        let credentials = Rc::clone(credentials);
        services.on_boot(&controller.object(), move |host| {
            let member = Member::on(&host, config.clone(), &credentials);
            host.spawn(member.serve(host.clone(), patience));
        });
    }
}

/// Who a controller's machine is in the group. One that lost its disk has forgotten what it promised, so it must not
/// come back as who it was: it joins as another, and has the group take out the one before.
struct Member {
    config: Config,
    at: SocketAddr,
    security: ServerSecurity,
    /// How it asks for a place in the group, which only operators may give.
    as_operator: ClientSecurity,
    /// Who it was before it lost its disk.
    was: Option<u64>,
}

impl Member {
    fn on(host: &SimHost, mut config: Config, credentials: &Credentials) -> Member {
        let number = config.id();
        let at = config.peers[&number];
        let wipes = host.with_world(|world| world.wipes(host.name()));
        let after = |wipes: u64| number + wipes * NUMBERS_APART;
        if wipes > 0 {
            config.raft.id = after(wipes);
            config.is_founder = false;
            config.peers.remove(&number);
            config.peers.insert(config.id(), at);
        }
        config.security = credentials.of_controller(host);
        Member {
            config,
            at,
            security: credentials.of_server(host),
            as_operator: credentials.of_operator(host),
            was: wipes.checked_sub(1).map(after),
        }
    }

    /// Takes part as long as the machine runs, and tells the world how it stands.
    async fn serve(mut self, host: SimHost, patience: Patience) {
        let id = self.config.id();
        let others = self.config.peers.values();
        let others: Vec<SocketAddr> = others.filter(|own| **own != self.at).copied().collect();
        if self.was.is_some() && others.is_empty() {
            return stopped(&host, "its disk is lost, and nobody else has the table");
        }
        let witness = host.clone();
        self.config.on_commit = Some(OnCommit::new(move |applied, took| {
            let revision = revision_of(applied);
            witness.with_world(|world| world.command_came_through(took, revision));
        }));
        let controller = match Controller::start(&host, self.config, Table::new()).await {
            Ok(controller) => controller,
            Err(why) => return stopped(&host, &why.to_string()),
        };
        let listener = host.tcp_listen(self.at, BACKLOG);
        let listener = listener.expect("a machine that has just started has every port free");
        let keeper = Keeper::start(&host, &controller, patience);
        let routes = Api::new(&host, controller.clone(), keeper).routes();
        let _server = Server::serve(&host, listener, routes, self.security, Limits::default());
        if let Some(was) = self.was {
            let client = Client::named(&host, "join", others, self.as_operator);
            host.spawn(join(host.clone(), client, (id, self.at), was));
        }
        let mut status = controller.watch_status();
        loop {
            let (role, term, ended) = status
                .next(|status| (status.role, status.term, status.stopped.clone()))
                .await;
            host.with_world(|world| world.controller_stands(host.name(), role, term));
            if let Some(why) = ended {
                stopped(&host, &why);
            }
        }
    }
}

/// Asks the others for a place in the group, in place of `was`, until it has one.
async fn join(host: SimHost, client: Client<SimHost>, (id, address): (u64, SocketAddr), was: u64) {
    let own = api::Member {
        id,
        address: address.to_string(),
        ..api::Member::default()
    };
    loop {
        let changed = client.change_members(vec![own.clone()], vec![was]).await;
        let known = client.members().await;
        let is_in = known.is_ok_and(|reply| reply.members.iter().any(|member| member.id == id));
        if changed.is_ok() || is_in {
            return;
        }
        host.sleep_until(host.now() + JOIN_AGAIN).await;
    }
}

fn stopped(host: &SimHost, why: &str) {
    host.with_world(|world| world.controller_stopped(host.name(), why));
}

/// The revision that a command made; `None` when it was refused or had been applied before.
fn revision_of(applied: &Applied) -> Option<u64> {
    let (outcome, is_repeated) = outcome_of(&applied.answer).ok()?;
    (!is_repeated).then_some(outcome.revision)
}
