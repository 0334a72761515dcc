//! Every way in which the table refuses a change, with its exact code and reason.
//!
//! Each case begins with the small world, or with one that has been changed for it, and one change is refused.
//! What the table was before it is afterwards: the harness compares.

use super::*;
use crate::api::refusal_of;
use crate::controller::{StateMachine, bytes_of, outcome_of};

use Code::{
    AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
};

/// Checks what is refused: what it is, the world that it is asked of, the change, and its sign.
macro_rules! cases {
    ($($what:literal: $world:expr, $change:expr => $sign:expr;)*) => {
        check(vec![$(($what, $world, $change, $sign)),*])
    };
}

mod balancers;
mod listeners;
mod security;
mod targets;
mod vips;

/// Code and reason.
type Sign = (Code, &'static str);
/// What is refused, in which world, and how.
type Case = (&'static str, Vec<Change>, Change, Sign);

fn check(cases: Vec<Case>) {
    for (what, world, change, expected) in cases {
        let mut table = after(world);
        check_as_a_client_sees_it(&table, &change, (what, expected));
        let refusal = match table.take(change) {
            Err(refusal) => refusal,
            Ok(delta) => panic!("{what}: accepted: {delta:?}"),
        };
        let found = (refusal.code, refusal.reason.name());
        assert_eq!(found, expected, "{what}: {refusal}");
        assert!(!refusal.message.is_empty());
    }
}

/// The same by way of the log and of the status that the API answers with.
fn check_as_a_client_sees_it(table: &Table, change: &Change, (what, expected): (&str, Sign)) {
    let asked = anyedge_proto::table::v1::Change::from(change);
    let change = Change::try_from(&asked).expect("it has a shape");
    let command = bytes_of(&Command::new(table.at(), change));
    let place = table.revision() + 1;
    let effect = StateMachine::apply(&mut table.clone(), place, &command);
    let refusal = outcome_of(&effect.answer).expect_err(what);
    let status = crate::api::refused(&refusal);
    let seen = refusal_of(&status).map(|refusal| (refusal.code, refusal.reason.name()));
    assert_eq!(seen, Some(expected), "{what}: {status}");
    assert_eq!(status.code() as i32, expected.0 as i32, "{what}");
}

fn clb(change: impl FnOnce(&mut Clb)) -> Clb {
    let mut clb = Clb::new("new", "guangzhou");
    change(&mut clb);
    clb
}

fn new_listener(protocol: Protocol, port: u32, change: impl FnOnce(&mut Listener)) -> Listener {
    let mut listener = Listener::new("gz-main", "new", protocol, port);
    listener.certificate = "own".to_owned();
    change(&mut listener);
    listener
}

fn tencent() -> Change {
    ensure(Settings {
        profile: Profile::Tencent,
        ..Settings::default()
    })
}

fn quotas(change: impl FnOnce(&mut Quotas)) -> Change {
    let mut settings = Settings::default();
    change(&mut settings.quotas);
    ensure(settings)
}

fn register(parent: &str, ip: &str, port: u32, change: impl FnOnce(&mut Target)) -> Change {
    let mut target = target(parent, ip, port);
    change(&mut target);
    Change::RegisterTargets(vec![target])
}

fn with_host(change: impl FnOnce(&mut Host)) -> Change {
    let mut host = host("host.web-1", "guangzhou", 5);
    change(&mut host);
    update(host)
}

const NO_APPROVAL: Sign = (Code::PermissionDenied, "UnauthorizedOperation");
const PRECONDITION: Sign = (FailedPrecondition, "FailedOperation");
const CLB_STATUS: Sign = (FailedPrecondition, "FailedOperation.InvalidLBStatus");
const PROTOCOL: Sign = (FailedPrecondition, "InvalidParameter.ProtocolCheckFailed");
const RANGE: Sign = (OutOfRange, "InvalidParameterValue.Range");
const DUPLICATE: Sign = (AlreadyExists, "InvalidParameterValue.Duplicate");
const MISSING: Sign = (InvalidArgument, "MissingParameter");
const LENGTH: Sign = (InvalidArgument, "InvalidParameterValue.Length");
const FORMAT: Sign = (InvalidArgument, "InvalidParameter.FormatError");
const VALUE: Sign = (InvalidArgument, "InvalidParameterValue");
const NO_RESOURCE: Sign = (NotFound, "ResourceNotFound");
const NO_CLB: Sign = (NotFound, "InvalidParameter.LBIdNotFound");
const NO_REGION: Sign = (NotFound, "InvalidParameter.RegionNotFound");
const NO_LISTENER: Sign = (NotFound, "InvalidParameter.ListenerIdNotFound");
const NO_RULE: Sign = (NotFound, "InvalidParameter.LocationNotFound");
const LIMIT: Sign = (ResourceExhausted, "LimitExceeded");
const INSUFFICIENT: Sign = (ResourceExhausted, "ResourceInsufficient");
const IN_USE: Sign = (FailedPrecondition, "FailedOperation.ResourceInUse");
const OTHER_REGION: Sign = (FailedPrecondition, "FailedOperation.TargetRegion");
const OTHER_NETWORK: Sign = (FailedPrecondition, "FailedOperation.TargetNetwork");
const TAKEN: Sign = (AlreadyExists, "InvalidParameter.PortCheckFailed");

#[test]
fn every_reason_has_one_code_and_its_name_is_known() {
    for reason in Reason::ALL {
        assert_eq!(Reason::named(reason.name()), Some(*reason));
        let refusal = reason.because("so");
        let wire = anyedge_proto::table::v1::Refusal::from(&refusal);
        assert_eq!(Refusal::try_from(&wire), Ok(refusal));
    }
    assert_eq!(Reason::NotLeader.code(), Code::Unavailable);
    assert_eq!(Reason::StaleRead.code(), Code::Aborted);
    assert!(Reason::Insufficient.because("none").is_retryable());
}
