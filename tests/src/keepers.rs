//! Controllers with keepers, and nodes with agents, in a simulated network: what nodes say is played, what the table makes
//! of it is written down.
//!
//! Two POPs, a region of three CLB nodes and a host, each with an agent. At first every node sees every CLB node;
//! a script says who loses sight of whom, and when. What each node is given as the table is noted with its time.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyedge_ccn::agent::{Agent, AgentHandle, Config as AgentConfig};
use anyedge_ccn::controller::{Config, Controller, bytes_of};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::rpc::{ClientSecurity, Limits, Role, Server, ServerSecurity};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command, PutMode};
use anyedge_ccn::table::membership::Membership;
use anyedge_ccn::table::object::{ClbNode, Kind};
use anyedge_net::flow::HashKey;
use anyedge_net::host::Host;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::host::SimHost;
use anyedge_sim::run::{Options, run_with};
use anyedge_sim::services::Services;
use anyedge_topologies::Topology;
use tonic::service::Routes;

use crate::ground::ground;

/// How long a majority has to last.
pub const CONFIRM: Duration = Duration::from_millis(500);
/// Followers wait this long for a leader, or up to twice as long.
const ELECTION: Duration = Duration::from_millis(400);
const PORT: u16 = 7_000;

const CONTROLLERS: &str = r#"
[controller.a]
at = "tokyo"
[controller.b]
at = "guangzhou"
[controller.c]
at = "osaka"
"#;

/// Who loses or regains sight of which CLB node, and when.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Since the beginning of the run.
    pub at: Duration,
    /// Full name.
    pub node: String,
    /// Number of the CLB node.
    pub clb_node: u32,
    /// Whether it sees it.
    pub up: bool,
}

/// What a node was given at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// When.
    pub at: Instant,
    /// To whom.
    pub node: String,
    /// Of the table.
    pub revision: u64,
    /// Of the CLB nodes, in the order of their names.
    pub members: Vec<Membership>,
}

/// What came of a run.
pub struct Outcome {
    /// In the order of time.
    pub given: Vec<Given>,
    /// What the keeper of the last leader knows of nodes: the revisions in force.
    pub in_force: BTreeMap<String, u64>,
    /// The run's fingerprint.
    pub digest: String,
}

impl Outcome {
    /// Each change of the CLB nodes, with the time at which the first node was given it.
    pub fn changes(&self) -> Vec<(Instant, Vec<Membership>)> {
        let mut changes: Vec<(Instant, Vec<Membership>)> = Vec::new();
        let mut newest = 0;
        for given in &self.given {
            if given.revision <= newest {
                continue;
            }
            newest = given.revision;
            if changes
                .last()
                .is_none_or(|(_, last)| *last != given.members)
            {
                changes.push((given.at, given.members.clone()));
            }
        }
        changes
    }
}

/// Names of the nodes that report.
pub const REPORTERS: [&str; 6] = [
    "pop.tokyo",
    "pop.osaka",
    "region.guangzhou.clb-1",
    "region.guangzhou.clb-2",
    "region.guangzhou.clb-3",
    "host.web-1",
];

struct Member {
    controller: Controller<Table>,
    keeper: Keeper,
    _server: Server,
}

type Members = Arc<Mutex<BTreeMap<u64, Member>>>;

/// Plays `sights` for `duration` in a network where the `faults` (as in a topology file) strike.
///
/// # Panics
/// When the network cannot be built.
pub fn play(seed: u64, duration: &str, faults: &str, sights: &[Sight]) -> Outcome {
    let text = format!(
        "schema = 1\nname = \"keepers\"\nseed = 5\nduration = \"{duration}\"\n\
         [defaults]\nprobe = false\nroutes = \"static\"\n{}{CONTROLLERS}{faults}",
        ground(["52ms", "55ms"], 3, 1)
    );
    let parsed = Topology::parse("keepers.toml", &text);
    let topology = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let peers = addresses(&topology);
    let members = Members::default();
    let given = Arc::new(Mutex::new(Vec::new()));
    let mut services = Services::new();
    let first = Arc::new(first_command(&topology));
    for (id, name) in (1..).zip(["a", "b", "c"]) {
        let (members, peers, first) = (members.clone(), peers.clone(), Arc::clone(&first));
        services.on_boot(&format!("controller.{name}"), move |host| {
            let task = serve(
                host.clone(),
                id,
                peers.clone(),
                members.clone(),
                first.clone(),
            );
            host.spawn(task);
        });
    }
    for name in REPORTERS {
        let (given, controllers) = (Arc::clone(&given), Vec::from_iter(peers.values().copied()));
        let own: Vec<Sight> = sights
            .iter()
            .filter(|it| it.node == name)
            .cloned()
            .collect();
        services.on_boot(name, move |host| {
            let agent = start_agent(&host, controllers.clone(), Arc::clone(&given));
            host.spawn(tell(host.clone(), agent, own.clone()));
        });
    }
    let asked = members.clone();
    services.set_leader(move || {
        let id = leader(&asked)?;
        Some(format!("controller.{}", ["a", "b", "c"][id as usize - 1]))
    });
    let options = Options {
        seed: Some(Seed(seed)),
        ..Options::default()
    };
    let report = run_with(&topology, &options, &services, &mut |_| {});
    let digest = report.expect("the network builds").digest;
    let given = given.lock().expect("sound").clone();
    Outcome {
        in_force: in_force(&members),
        given,
        digest,
    }
}

fn addresses(topology: &Topology) -> BTreeMap<u64, SocketAddr> {
    let nodes = topology.managed();
    let address = |name: &str| {
        let node = nodes.iter().find(|node| node.name == name);
        let v4 = node.expect("it is in the file").address.v4;
        SocketAddr::new(v4.expect("both families").into(), PORT)
    };
    (1..)
        .zip(["controller.a", "controller.b", "controller.c"].map(address))
        .collect()
}

/// The topology's objects, as what the first leader proposes.
fn first_command(topology: &Topology) -> Change {
    let mut author = anyedge_topologies::author(topology, HashKey::new([7; 16]))
        .expect("the network makes sense");
    author
        .publish(Instant::ZERO)
        .expect("the network makes sense");
    let kinds = [
        Kind::Region,
        Kind::Pop,
        Kind::ClbNode,
        Kind::Host,
        Kind::Path,
    ];
    let table = author.table();
    let entries = kinds.into_iter().flat_map(|kind| table.list(kind, "", ""));
    let put = |(_, entry): (&str, &anyedge_ccn::table::Entry)| {
        Change::Put((*entry.object).clone(), PutMode::Create)
    };
    Change::All(entries.map(put).collect())
}

async fn serve(
    host: SimHost,
    id: u64,
    peers: BTreeMap<u64, SocketAddr>,
    members: Members,
    first: Arc<Change>,
) {
    let at = peers[&id];
    let config = Config::new(id, peers, ELECTION);
    let controller = Controller::start(&host, config, Table::new()).await;
    let controller = controller.expect("its disk is sound");
    let patience = Patience {
        confirm: CONFIRM,
        ..Patience::default()
    };
    let keeper = Keeper::start(&host, &controller, patience);
    let listener = host.tcp_listen(at, 128).expect("its port is free");
    let routes = Routes::new(controller.raft_service());
    let routes = routes.add_service(controller.nodes_service(&host));
    let routes = routes.add_service(keeper.report_service(&host));
    let security = ServerSecurity::Plain(Role::Node);
    let server = Server::serve(&host, listener, routes, security, Limits::default());
    let member = Member {
        controller: controller.clone(),
        keeper: keeper.clone(),
        _server: server,
    };
    members.lock().expect("sound").insert(id, member);
    while controller.read(Table::revision) == 0 {
        let at = keeper.time().stamp(&host, &controller);
        let command = Command::new(at, (*first).clone());
        // Only the leader's comes through; of two, one is refused.
        let _refused = controller.propose(bytes_of(&command)).await;
        host.sleep_until(host.now() + Duration::from_millis(50))
            .await;
    }
}

fn start_agent(
    host: &SimHost,
    controllers: Vec<SocketAddr>,
    given: Arc<Mutex<Vec<Given>>>,
) -> AgentHandle {
    let config = AgentConfig::new(host.name(), controllers, ClientSecurity::Plain);
    let own = host.clone();
    // A forwarder would take it and say so.
    let in_force = Arc::new(Mutex::new(None::<AgentHandle>));
    let told = Arc::clone(&in_force);
    let agent = Agent::start(host, config, move |table| {
        let members = table.all::<ClbNode>().map(|node| node.membership);
        given.lock().expect("sound").push(Given {
            at: own.now(),
            node: own.name().to_owned(),
            revision: table.revision(),
            members: members.collect(),
        });
        if let Some(agent) = &*told.lock().expect("sound") {
            agent.in_force(table.revision());
        }
    });
    *in_force.lock().expect("sound") = Some(agent.clone());
    agent
}

/// Says what the node sees.
async fn tell(host: SimHost, agent: AgentHandle, sights: Vec<Sight>) {
    let see = |clb_node: u32, up| {
        let clb_node = format!("region.guangzhou.clb-{clb_node}");
        if clb_node != host.name() {
            agent.path_state(&clb_node, "tokyo-guangzhou", up);
        }
    };
    (1..=3).for_each(|clb_node| see(clb_node, true));
    for sight in sights {
        let at = Instant::ZERO + sight.at;
        // A machine that starts again knows what came before.
        if at > host.now() {
            host.sleep_until(at).await;
        }
        see(sight.clb_node, sight.up);
    }
}

fn leader(members: &Members) -> Option<u64> {
    let members = members.lock().expect("sound");
    let statuses = members.values().map(|member| member.controller.status());
    let leading = statuses.filter(|status| status.role == anyedge_ccn::raft::Role::Leader);
    leading.max_by_key(|status| status.term).map(|it| it.id)
}

fn in_force(members: &Members) -> BTreeMap<String, u64> {
    let Some(id) = leader(members) else {
        return BTreeMap::new();
    };
    let nodes = members.lock().expect("sound")[&id].keeper.nodes();
    nodes
        .into_iter()
        .map(|(name, node)| (name, node.in_force))
        .collect()
}
