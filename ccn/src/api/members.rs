//! The Members service: who the controllers are, who leads, and changing either.

use core::net::SocketAddr;

use anyedge_net::host::Host;
use anyedge_proto::control::v1 as pb;
use anyedge_proto::control::v1::members_server::Members;
use anyedge_proto::control::v1::{
    ChangeMembersRequest, MembersReply, MembersRequest, TransferRequest,
};
use tonic::{Request, Response, Status as RpcStatus};

use super::allowed::{READERS, WRITERS, allowed};
use super::refused::{failed, refused};
use super::write::missing;
use super::{Api, PATIENCE};
use crate::controller::{Failure, Status};
use crate::raft::Role;
use crate::rpc::until;
use crate::table::refusal::{Reason, Refusal};

type Answered = Result<Response<MembersReply>, RpcStatus>;

#[tonic::async_trait]
impl<H: Host> Members for Api<H> {
    /// As this member knows it, whichever it is: who looks for the leader must be able to ask anybody.
    async fn list(&self, request: Request<MembersRequest>) -> Answered {
        allowed(request, READERS)?;
        Ok(Response::new(self.members()))
    }

    async fn transfer_leader(&self, request: Request<TransferRequest>) -> Answered {
        let TransferRequest { to } = allowed(request, WRITERS)?;
        if to == 0 {
            return Err(missing("the number of the member that is to lead"));
        }
        let controller = &self.shared.controller;
        let leads = controller.with_status(|status| status.role == Role::Leader && status.id == to);
        if leads {
            return Ok(Response::new(self.members()));
        }
        let mut statuses = controller.watch_status();
        let begun = controller.transfer(to).await;
        begun.map_err(|failure| failed(&failure))?;
        let moved = async {
            let leads = |status: &Status| status.leader.is_some_and(|leader| leader.id == to);
            while !statuses.next(leads).await {}
        };
        let patience_ends = self.shared.host.now() + PATIENCE;
        if until(&self.shared.host, patience_ends, moved)
            .await
            .is_none()
        {
            return Err(refused(&Reason::Operation.because(format_args!(
                "leadership has not come to member {to}: it does not answer, or lags behind"
            ))));
        }
        Ok(Response::new(self.members()))
    }

    async fn change(&self, request: Request<ChangeMembersRequest>) -> Answered {
        let ChangeMembersRequest { add, remove } = allowed(request, WRITERS)?;
        if add.is_empty() && remove.is_empty() {
            return Err(missing("a member to add or to remove"));
        }
        let added = add.iter().map(address_of).collect::<Result<Vec<_>, _>>();
        let added = added.map_err(|refusal| refused(&refusal))?;
        self.change_members(&added, &remove)
            .await
            .map_err(|failure| failed(&failure))?;
        Ok(Response::new(self.members()))
    }
}

impl<H: Host> Api<H> {
    async fn change_members(
        &self,
        added: &[(u64, SocketAddr)],
        removed: &[u64],
    ) -> Result<(), Failure> {
        let controller = &self.shared.controller;
        for (id, address) in added {
            controller.set_address(*id, Some(*address)).await?;
        }
        let ids: Vec<u64> = added.iter().map(|(id, _)| *id).collect();
        controller.change_members(&ids, removed).await?;
        for id in removed {
            // A leader that removed itself cannot do that any more, and an address that stays does no harm.
            let _ = controller.set_address(*id, None).await;
        }
        Ok(())
    }

    fn members(&self) -> MembersReply {
        let unix_time = self.shared.host.unix_time();
        MembersReply {
            unix_micros: u64::try_from(unix_time.as_micros()).unwrap_or(u64::MAX),
            ..self.shared.controller.with_status(members_of)
        }
    }
}

fn members_of(status: &Status) -> MembersReply {
    let leader = status.leader.map_or(0, |leader| leader.id);
    let groups = &status.members;
    let voters = groups.voters.iter().chain(&groups.outgoing);
    let learners = groups.learners.iter().chain(&groups.learners_next);
    let voters: Vec<u64> = voters.copied().collect();
    let mut ids: Vec<u64> = voters.iter().chain(learners).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let member = |id: &u64| pb::Member {
        id: *id,
        address: status
            .addresses
            .get(id)
            .map_or_else(String::new, SocketAddr::to_string),
        role: match (*id == leader, voters.contains(id)) {
            (true, _) => "leader",
            (false, true) => "follower",
            (false, false) => "learner",
        }
        .to_owned(),
        revision: if *id == status.id { status.applied } else { 0 },
    };
    MembersReply {
        term: status.term,
        leader,
        members: ids.iter().map(member).collect(),
        unix_micros: 0,
    }
}

fn address_of(member: &pb::Member) -> Result<(u64, SocketAddr), Refusal> {
    if member.id == 0 {
        return Err(Reason::Range.because("0 is no member's number"));
    }
    let address = member.address.parse();
    let address = address.map_err(|_| {
        Reason::Format.because(format_args!("`{}` is no address and port", member.address))
    })?;
    Ok((member.id, address))
}
