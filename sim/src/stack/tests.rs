//! Two hosts, a wire with delay and loss between them, and what TCP and UDP promise across it.

mod fragments;
mod linux_like;
mod pipe;
mod tcp;
mod udp;

use anyedge_topologies::TcpStack;

/// The TCP of the client and of the server.
type Pair = [TcpStack; 2];

const SMOLTCP: TcpStack = TcpStack::Smoltcp;
const LINUX_LIKE: TcpStack = TcpStack::LinuxLike;

/// Makes each function a test for every pair of TCPs.
macro_rules! with_each_pair {
    ($($test:ident),+ $(,)?) => {
        with_each_pair!(@ smoltcp, [super::super::SMOLTCP, super::super::SMOLTCP], $($test)+);
        with_each_pair!(@ linux_like, [super::super::LINUX_LIKE, super::super::LINUX_LIKE], $($test)+);
        with_each_pair!(@ smoltcp_to_linux_like, [super::super::SMOLTCP, super::super::LINUX_LIKE], $($test)+);
        with_each_pair!(@ linux_like_to_smoltcp, [super::super::LINUX_LIKE, super::super::SMOLTCP], $($test)+);
    };
    (@ $name:ident, $pair:expr, $($test:ident)+) => {
        mod $name {
            $(#[test]
            fn $test() {
                super::$test($pair);
            })+
        }
    };
}
use with_each_pair;
