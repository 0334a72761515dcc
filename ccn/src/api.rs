//! The control API of one controller: every service of `anyedge.control.v1` over the replicated table.
//!
//! A write becomes a command of the log, and what came of it is the answer; a read waits until this member, the
//! leader, knows all that anybody was told, unless it asks for less. Nothing is decided here: rules stand in
//! [`table`](crate::table), agreement in [`controller`](crate::controller). A member that does not lead says who
//! does. The same services stand in the simulator, on real machines and in tests. See docs/api.md.

mod allowed;
mod autoscaling;
mod balancers;
mod ccn;
pub mod client;
mod ground;
mod health;
mod members;
mod objects;
mod page;
mod read;
mod refused;
mod restore;
mod security;
mod snat;
mod targets;
mod tasks;
mod vips;
mod whole;
mod write;

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyedge_net::host::Host;
use anyedge_proto::control::v1::auto_scaling_server::AutoScalingServer;
use anyedge_proto::control::v1::ccn_server::CcnServer;
use anyedge_proto::control::v1::clb_server::ClbServer;
use anyedge_proto::control::v1::ground_server::GroundServer;
use anyedge_proto::control::v1::listener_server::ListenerServer;
use anyedge_proto::control::v1::members_server::MembersServer;
use anyedge_proto::control::v1::rule_server::RuleServer;
use anyedge_proto::control::v1::security_group_server::SecurityGroupServer;
use anyedge_proto::control::v1::snat_server::SnatServer;
use anyedge_proto::control::v1::table_server::TableServer;
use anyedge_proto::control::v1::target_server::TargetServer;
use anyedge_proto::control::v1::task_server::TaskServer;
use anyedge_proto::control::v1::vip_server::VipServer;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::controller::{Controller, Watch};
use crate::keeper::Keeper;
use crate::rpc::{HealthBook, ReflectionService};
use crate::table::Table;
pub(crate) use refused::{failed, refused};
pub use refused::{leader_of, refusal_of};
use tasks::Tasks;

/// Names of the services, as reflection and health tell them.
const SERVICES: [&str; 17] = [
    "anyedge.control.v1.AutoScaling",
    "anyedge.control.v1.Ccn",
    "anyedge.control.v1.Clb",
    "anyedge.control.v1.Ground",
    "anyedge.control.v1.Listener",
    "anyedge.control.v1.Members",
    "anyedge.control.v1.Nodes",
    "anyedge.control.v1.Report",
    "anyedge.control.v1.Rule",
    "anyedge.control.v1.SecurityGroup",
    "anyedge.control.v1.Snat",
    "anyedge.control.v1.Table",
    "anyedge.control.v1.Target",
    "anyedge.control.v1.Task",
    "anyedge.control.v1.Vip",
    "anyedge.raft.v1.Raft",
    "grpc.health.v1.Health",
];

/// The services of one member. Clones are the same.
pub struct Api<H: Host> {
    shared: Arc<Shared<H>>,
}

struct Shared<H: Host> {
    host: H,
    controller: Controller<Table>,
    watch: Watch<H, Table>,
    keeper: Keeper,
    /// Requests without an id that were given one.
    ids_given: AtomicU64,
    tasks: Tasks,
    /// Places for calls that hold a whole table.
    large: Arc<Semaphore>,
}

/// How long a call waits for what the member is expected to come to: a revision, another leader.
const PATIENCE: Duration = Duration::from_secs(2);
/// Calls at one time that hold a whole table.
const LARGE_MAX: usize = 4;

impl<H: Host> Clone for Api<H> {
    fn clone(&self) -> Self {
        Api {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<H: Host> Api<H> {
    /// The services of `controller`, which runs on `host` with `keeper` beside it.
    pub fn new(host: &H, controller: Controller<Table>, keeper: Keeper) -> Api<H> {
        Api {
            shared: Arc::new(Shared {
                host: host.clone(),
                watch: controller.watch(host),
                controller,
                keeper,
                ids_given: AtomicU64::new(0),
                tasks: Tasks::default(),
                large: Arc::new(Semaphore::new(LARGE_MAX)),
            }),
        }
    }

    /// All that a controller serves at its address: for operators, for nodes, for the other members.
    pub fn routes(&self) -> Routes {
        let Shared {
            host,
            controller,
            watch,
            keeper,
            ..
        } = &*self.shared;
        let book = HealthBook::new();
        health::keep(host, controller, book.clone());
        Routes::new(controller.raft_service())
            .add_service(watch.service())
            .add_service(keeper.report_service(host))
            .add_service(TableServer::new(self.clone()))
            .add_service(MembersServer::new(self.clone()))
            .add_service(TaskServer::new(self.clone()))
            .add_service(ClbServer::new(self.clone()))
            .add_service(ListenerServer::new(self.clone()))
            .add_service(RuleServer::new(self.clone()))
            .add_service(TargetServer::new(self.clone()))
            .add_service(VipServer::new(self.clone()))
            .add_service(SecurityGroupServer::new(self.clone()))
            .add_service(AutoScalingServer::new(self.clone()))
            .add_service(SnatServer::new(self.clone()))
            .add_service(CcnServer::new(self.clone()))
            .add_service(GroundServer::new(self.clone()))
            .add_service(book.service())
            .add_service(ReflectionService::server(&SERVICES))
    }
}
