//! A lab of NAT64: clients of IPv6 at the IPv4 sockets of real backends, through the loss of either CLB node.

use std::net::{Ipv6Addr, SocketAddr};

use anyedge_tests::labs::{Lab, text};
use anyedge_tests::processes::wait_for;

use super::clients::Kept;

const FILE: &str = "topologies/nat64.toml";
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10);
/// Whom servers see: the file's `snat`.
const SEEN: &str = "10.0.9.1:";

/// What a server answers about a new connection of Osaka's.
fn answer(lab: &Lab) -> String {
    let url = format!("http://[{VIP}]/");
    let curl = ["curl", "-gs", "--max-time", "5", &url];
    text(&lab.exec("client.osaka", &curl).stdout)
}

#[test]
fn a_connection_of_ipv6_to_a_server_of_ipv4_outlives_both_clb_nodes_in_turn() {
    let Some(lab) = Lab::of(FILE, "snat64", &[]) else {
        return;
    };
    wait_for("service", || !answer(&lab).is_empty());
    let told = answer(&lab);
    let line = |word: &str| told.lines().find_map(|line| line.strip_prefix(word));
    assert!(
        line("client ").is_some_and(|from| from.starts_with(SEEN)),
        "{told}"
    );
    let toa = line("toa ").and_then(|from| from.parse::<SocketAddr>().ok());
    let client = lab.inside("client.osaka", || {
        let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((VIP, 80))?;
        Ok(socket.local_addr()?.ip())
    });
    assert_eq!(toa.map(|from| from.ip()), Some(client), "{told}");

    let mut kept = Kept::open(&lab, SocketAddr::from((VIP, 80)));
    kept.still_answers();
    for node in ["clb-1", "clb-2", "clb-1"] {
        kept.1 = node;
        let node = format!("region.guangzhou.{node}");
        lab.fault(&["crash", &node, "--for", "1s"]);
        kept.still_answers();
        // New flows find ports as well, with one node gone or just back.
        for _ in 0..4 {
            wait_for("an answer", || answer(&lab).contains(SEEN));
        }
        lab.await_health();
    }
    kept.still_answers();
}
