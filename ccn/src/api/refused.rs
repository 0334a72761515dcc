//! Refusals as gRPC statuses, and read back from them.
//!
//! Code and message are the refusal's own. The details are a `google.rpc.Status`, as every gRPC tool reads it, with an
//! `ErrorInfo` (the reason) and our own `Refusal`. Messages quote what was asked and are cut, so that a status always
//! fits into headers.

use core::net::SocketAddr;

use anyedge_proto::status::ErrorInfo;
use anyedge_proto::table::v1 as pb;
use prost::Message as _;
use prost_types::Any;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::controller::Failure;
use crate::keeper::LEADER_METADATA;
use crate::table::refusal::{Reason, Refusal};

const REFUSAL_TYPE: &str = "type.googleapis.com/anyedge.table.v1.Refusal";
const INFO_TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";
/// Bytes of a message: it stands in headers three times, once in percent signs.
const MESSAGE_MAX: usize = 1_024;

/// The status of a call that was refused.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    status_of(refusal, MetadataMap::new())
}

/// The status of a call that the controller could not do.
pub(crate) fn failed(failure: &Failure) -> Status {
    let mut metadata = MetadataMap::new();
    let reason = match failure {
        Failure::NotLeader(leader) => {
            let address = leader.and_then(|leader| leader.address);
            let text = address.map(|address| MetadataValue::try_from(address.to_string()));
            if let Some(Ok(text)) = text {
                metadata.insert(LEADER_METADATA, text);
            }
            Reason::NotLeader
        }
        // Neither was done nor will be, and somebody else leads or will.
        Failure::Lost | Failure::Stopped => Reason::NotLeader,
        Failure::Busy => Reason::Busy,
        Failure::TooLarge => Reason::Length,
        Failure::Unsound => Reason::Value,
        Failure::Unknown => Reason::OutcomeUnknown,
    };
    status_of(&reason.because(failure), metadata)
}

/// The refusal in a status; `None` if it has none, as when a connection was lost.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    let details = anyedge_proto::status::Status::decode(status.details()).ok()?;
    let ours = |any: &&Any| any.type_url == REFUSAL_TYPE;
    let any = details.details.iter().find(ours)?;
    let refusal = pb::Refusal::decode(any.value.as_slice()).ok()?;
    Refusal::try_from(&refusal).ok()
}

/// Where the member that refused says that the leader is.
pub fn leader_of(status: &Status) -> Option<SocketAddr> {
    status
        .metadata()
        .get(LEADER_METADATA)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn status_of(refusal: &Refusal, metadata: MetadataMap) -> Status {
    let mut refusal = pb::Refusal::from(refusal);
    if refusal.message.len() > MESSAGE_MAX {
        let end = refusal.message.floor_char_boundary(MESSAGE_MAX);
        refusal.message.truncate(end);
        refusal.message.push_str(" ..");
    }
    let info = ErrorInfo {
        reason: refusal.reason.clone(),
        domain: "anyedge".to_owned(),
        ..ErrorInfo::default()
    };
    let any = |type_url: &str, value| Any {
        type_url: type_url.to_owned(),
        value,
    };
    let details = anyedge_proto::status::Status {
        code: refusal.code,
        message: refusal.message.clone(),
        details: vec![
            any(INFO_TYPE, info.encode_to_vec()),
            any(REFUSAL_TYPE, refusal.encode_to_vec()),
        ],
    };
    let code = Code::from_i32(refusal.code);
    let details = details.encode_to_vec().into();
    Status::with_details_and_metadata(code, refusal.message, details, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Leader;

    #[test]
    fn every_refusal_comes_back_from_its_status_with_the_code_of_its_name() {
        for reason in Reason::ALL {
            let refusal = reason.because("load balancer `gz` is not there");
            let status = refused(&refusal);
            assert_eq!(status.code() as i32, refusal.code as i32, "{reason:?}");
            assert_eq!(status.message(), refusal.message);
            assert_eq!(refusal_of(&status), Some(refusal));
        }
    }

    #[test]
    fn a_message_of_any_length_is_cut_between_letters() {
        for length in [1_020, 1_023, 1_024, 1_025, 5_000] {
            let name = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let status = refused(&Reason::Value.because(format_args!("a{name}")));
            assert!(status.message().len() <= MESSAGE_MAX + 3, "{length}");
            let refusal = refusal_of(&status).expect("it is there");
            assert_eq!(refusal.message, status.message());
        }
    }

    #[test]
    fn a_member_that_does_not_lead_says_where_the_leader_is() {
        let address: SocketAddr = ([172, 19, 0, 2], 4_700).into();
        let address = Some(address);
        let status = failed(&Failure::NotLeader(Some(Leader { id: 2, address })));
        assert_eq!(
            (status.code(), leader_of(&status)),
            (Code::Unavailable, address)
        );
        let status = failed(&Failure::NotLeader(None));
        assert_eq!(
            (status.code(), leader_of(&status)),
            (Code::Unavailable, None)
        );
    }

    #[test]
    fn only_what_may_have_been_done_says_so() {
        for (failure, code, reason) in [
            (Failure::Busy, Code::ResourceExhausted, Reason::Busy),
            (Failure::TooLarge, Code::InvalidArgument, Reason::Length),
            (Failure::Unsound, Code::InvalidArgument, Reason::Value),
            (Failure::Lost, Code::Unavailable, Reason::NotLeader),
            (Failure::Stopped, Code::Unavailable, Reason::NotLeader),
            (Failure::Unknown, Code::Unavailable, Reason::OutcomeUnknown),
        ] {
            let status = failed(&failure);
            let found = refusal_of(&status).map(|refusal| refusal.reason);
            assert_eq!((status.code(), found), (code, Some(reason)), "{failure:?}");
        }
    }
}
