//! The service by which nodes tell the leader how they stand.
//!
//! Only the leader takes reports; another member says who leads. A node reports for itself alone, if its certificate says
//! who it is. A report is taken as a whole, and what is too long to be one is refused.

use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_proto::control::v1::report_server::{Report, ReportServer};
use anyedge_proto::control::v1::{NodeReport, NodeReportReply};
use tonic::{Request, Response, Status};

use super::Shared;
use crate::api::{failed, refused};
use crate::controller::Failure;
use crate::rpc::{Peer, Role};
use crate::table::refusal::Reason;

/// Sessions and targets of one report.
pub const REPORT_ITEMS_MAX: usize = 8_192;
/// Where a member that does not lead says who does.
pub const LEADER_METADATA: &str = "anyedge-leader";

/// Takes reports.
pub struct Reports<H: Host> {
    host: H,
    shared: Arc<Shared>,
}

impl<H: Host> Reports<H> {
    pub(super) fn service(host: &H, shared: &Arc<Shared>) -> ReportServer<Reports<H>> {
        ReportServer::new(Reports {
            host: host.clone(),
            shared: Arc::clone(shared),
        })
    }
}

#[tonic::async_trait]
impl<H: Host> Report for Reports<H> {
    async fn send(
        &self,
        request: Request<NodeReport>,
    ) -> Result<Response<NodeReportReply>, Status> {
        let peer = Peer::of(&request)?;
        peer.require(&[Role::Node])?;
        let name = peer.name.clone().filter(|_| peer.role == Role::Node);
        let report = request.into_inner();
        if name.is_some_and(|name| name != report.node) {
            let alone = Reason::Unauthorized.because("a node reports for itself alone");
            return Err(refused(&alone));
        }
        if report.paths.len() + report.targets.len() > REPORT_ITEMS_MAX {
            return Err(refused(&Reason::Length.because(format_args!(
                "a report of more than {REPORT_ITEMS_MAX} sessions and targets"
            ))));
        }
        match self.shared.take(self.host.now(), &report) {
            Ok(Ok(reply)) => Ok(Response::new(reply)),
            Ok(Err(_)) => {
                let node = report.node;
                Err(refused(
                    &Reason::NoResource.because(format_args!("node `{node}` is not in the table")),
                ))
            }
            Err(leader) => Err(failed(&Failure::NotLeader(leader))),
        }
    }
}
