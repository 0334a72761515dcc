//! What the others remember of a member that starts without a log.
//!
//! A founder's first start and a founder that lost its disk look alike from inside: both begin with nothing. The
//! second has voted and acknowledged, and must not do so again as if it had not. Whoever heard it remembers. It is a
//! guard against mistakes: members that are away cannot be asked.

use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_proto::raft::MeetRequest;
use anyedge_proto::raft::raft_client::RaftClient;
use futures_util::future::join_all;
use tonic::Request;

use super::super::config::Config;
use crate::rpc::Channel;

/// Which member says that it has heard this one before. Each of the others is asked, and waited for at most for
/// `wait`.
pub async fn remembered_by<H: Host>(host: &H, config: &Config, wait: Duration) -> Option<u64> {
    let own = config.id();
    let others = config.peers.iter().filter(|(id, _)| **id != own);
    let asked = others.map(|(id, address)| async move {
        let channel = Channel::new(host, *address, config.security.clone(), config.limits);
        let mut request = Request::new(MeetRequest { id: own });
        request.set_timeout(wait);
        let answer = RaftClient::new(channel).meet(request).await;
        answer
            .is_ok_and(|answer| answer.into_inner().heard)
            .then_some(*id)
    });
    join_all(asked).await.into_iter().flatten().next()
}
