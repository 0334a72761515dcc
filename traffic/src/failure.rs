//! Why a request or a tick was not answered: exactly one cause each.
//!
//! The causes are what a client can tell from where it stands, so they are the error kinds of a host's
//! sockets, folded: a name for every kind, none left over.

use std::io;

/// Why a request or a tick failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Failure {
    /// Nobody listens there (RST to a SYN, ICMP port unreachable).
    Refused,
    /// The connection was reset.
    Reset,
    /// No complete answer within the load's timeout, or the host's TCP gave up.
    Timeout,
    /// It could not leave the host, or a router said that it cannot arrive.
    Unreachable,
    /// The connection ended before the answer did.
    ClosedEarly,
    /// The answer is not the one that was asked for.
    WrongAnswer,
    /// Another backend than before answers the flow, which so has lost its place.
    OtherTarget,
    /// The run was over first.
    RunEnded,
}

impl Failure {
    /// Every cause, in the order in which reports name them.
    pub const ALL: [Failure; 8] = [
        Failure::Refused,
        Failure::Reset,
        Failure::Timeout,
        Failure::Unreachable,
        Failure::ClosedEarly,
        Failure::WrongAnswer,
        Failure::OtherTarget,
        Failure::RunEnded,
    ];

    /// The name in reports, such as `closed_early`.
    pub const fn name(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Reset => "reset",
            Failure::Timeout => "timeout",
            Failure::Unreachable => "unreachable",
            Failure::ClosedEarly => "closed_early",
            Failure::WrongAnswer => "wrong_answer",
            Failure::OtherTarget => "other_target",
            Failure::RunEnded => "run_ended",
        }
    }

    /// The cause behind an error of a socket.
    pub fn of(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Failure::Reset,
            io::ErrorKind::TimedOut => Failure::Timeout,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => Failure::ClosedEarly,
            // No route, no address, no free port, no permission: it did not get out.
            _ => Failure::Unreachable,
        }
    }

    /// Whether an established connection that ends for this cause was broken by somebody else.
    pub const fn breaks_flow(self) -> bool {
        match self {
            Failure::Reset | Failure::Timeout | Failure::ClosedEarly | Failure::OtherTarget => true,
            Failure::Refused | Failure::Unreachable | Failure::WrongAnswer | Failure::RunEnded => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_stands_at_its_own_place() {
        for (place, cause) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place, "{}", cause.name());
        }
    }

    #[test]
    fn socket_errors_fold_into_causes() {
        let of = |kind: io::ErrorKind| Failure::of(&kind.into());
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Failure::Refused);
        assert_eq!(of(io::ErrorKind::BrokenPipe), Failure::Reset);
        assert_eq!(of(io::ErrorKind::TimedOut), Failure::Timeout);
        assert_eq!(of(io::ErrorKind::HostUnreachable), Failure::Unreachable);
        assert_eq!(of(io::ErrorKind::AddrInUse), Failure::Unreachable);
        assert_eq!(of(io::ErrorKind::UnexpectedEof), Failure::ClosedEarly);
    }
}
