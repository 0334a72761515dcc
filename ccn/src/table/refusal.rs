//! Why a command is refused: a code for programs, a reason for machines, a sentence for people.
//!
//! Codes are those of gRPC; reasons are named as in the API that the product mirrors, and each reason has one
//! code. A refusal leaves the table as it was.

use core::fmt;

macro_rules! codes {
    ($($code:ident = $number:literal, $name:literal;)*) => {
        /// A gRPC status code.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $(#[doc = concat!("`", $name, "`.")] $code = $number,)*
        }

        impl Code {
            /// Its name in gRPC.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Code::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    InvalidArgument = 3, "INVALID_ARGUMENT";
    NotFound = 5, "NOT_FOUND";
    AlreadyExists = 6, "ALREADY_EXISTS";
    PermissionDenied = 7, "PERMISSION_DENIED";
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    Aborted = 10, "ABORTED";
    OutOfRange = 11, "OUT_OF_RANGE";
    Internal = 13, "INTERNAL";
    Unavailable = 14, "UNAVAILABLE";
    Unauthenticated = 16, "UNAUTHENTICATED";
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $code:ident;)*) => {
        /// What a refusal is about.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$reason),*];

            /// Its name on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$reason => $name,)*
                }
            }

            /// The code that goes with it.
            pub const fn code(self) -> Code {
                match self {
                    $(Reason::$reason => Code::$code,)*
                }
            }
        }
    };
}

reasons! {
    /// Something cannot be read.
    Format = "InvalidParameter.FormatError", InvalidArgument;
    /// A value makes no sense here.
    Value = "InvalidParameterValue", InvalidArgument;
    /// A text is too short or too long.
    Length = "InvalidParameterValue.Length", InvalidArgument;
    /// A list cannot be filtered so.
    Filter = "InvalidParameterValue.InvalidFilter", InvalidArgument;
    /// Something that is needed is not there.
    Missing = "MissingParameter", InvalidArgument;
    /// A number is out of its range.
    Range = "InvalidParameterValue.Range", OutOfRange;
    /// Something is there twice.
    Duplicate = "InvalidParameterValue.Duplicate", AlreadyExists;
    /// A request id was used for something else.
    RequestReused = "InvalidParameterValue.RequestIdReused", AlreadyExists;
    /// A port is taken.
    PortTaken = "InvalidParameter.PortCheckFailed", AlreadyExists;
    /// Both kinds of redirect.
    RewriteExists = "InvalidParameter.RewriteAlreadyExist", AlreadyExists;
    /// No such load balancer.
    NoClb = "InvalidParameter.LBIdNotFound", NotFound;
    /// No such listener.
    NoListener = "InvalidParameter.ListenerIdNotFound", NotFound;
    /// No such rule.
    NoRule = "InvalidParameter.LocationNotFound", NotFound;
    /// No such region.
    NoRegion = "InvalidParameter.RegionNotFound", NotFound;
    /// No such redirect.
    NoRewrite = "InvalidParameter.SomeRewriteNotFound", NotFound;
    /// No such object of another kind.
    NoResource = "ResourceNotFound", NotFound;
    /// What the protocol does not allow.
    Protocol = "InvalidParameter.ProtocolCheckFailed", FailedPrecondition;
    /// The load balancer is not of the kind that this needs.
    ClbStatus = "FailedOperation.InvalidLBStatus", FailedPrecondition;
    /// The state of things does not allow it.
    Operation = "FailedOperation", FailedPrecondition;
    /// Something refers to it.
    InUse = "FailedOperation.ResourceInUse", FailedPrecondition;
    /// The backend is in another region.
    TargetRegion = "FailedOperation.TargetRegion", FailedPrecondition;
    /// The backend is in another network.
    TargetNetwork = "FailedOperation.TargetNetwork", FailedPrecondition;
    /// The backend is isolated.
    TargetIsolated = "FailedOperation.TargetIsolated", FailedPrecondition;
    /// The backend has expired.
    TargetExpired = "FailedOperation.TargetExpired", FailedPrecondition;
    /// The backend's bandwidth peak is 0.
    TargetBandwidth = "FailedOperation.TargetBandwidth", FailedPrecondition;
    /// A quota is used up.
    Limit = "LimitExceeded", ResourceExhausted;
    /// There is none left, for the moment.
    Insufficient = "ResourceInsufficient", ResourceExhausted;
    /// Too much is under way.
    Busy = "RequestLimitExceeded", ResourceExhausted;
    /// The object has changed since.
    Revision = "FailedOperation.RevisionChanged", Aborted;
    /// A read that wants more than is known.
    StaleRead = "FailedOperation.StaleRead", Aborted;
    /// The role may not do this, or it needs an approval.
    Unauthorized = "UnauthorizedOperation", PermissionDenied;
    /// Nobody knows the caller.
    Unauthenticated = "AuthFailure", Unauthenticated;
    /// A write to a member that does not lead.
    NotLeader = "FailedOperation.NotLeader", Unavailable;
    /// Whether it was done is not known: to be repeated with the same request id.
    OutcomeUnknown = "FailedOperation.OutcomeUnknown", Unavailable;
    /// Our own fault.
    Internal = "InternalError", Internal;
}

impl Reason {
    /// The reason of that name.
    pub fn named(name: &str) -> Option<Reason> {
        Reason::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }

    /// The refusal for this reason that says `message`.
    pub fn because(self, message: impl fmt::Display) -> Refusal {
        Refusal {
            code: self.code(),
            reason: self,
            message: message.to_string(),
        }
    }
}

/// Why something was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For machines.
    pub reason: Reason,
    /// For people: names the object, and what would be right.
    pub message: String,
}

impl Refusal {
    /// Whether the same request may pass later, without anybody changing it.
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.reason,
            Reason::Insufficient
                | Reason::Busy
                | Reason::NotLeader
                | Reason::OutcomeUnknown
                | Reason::StaleRead
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Refusal {}
