//! Security groups in a lab: a real client is shut out in silence, and what it had open goes on.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyedge_tests::labs::{Lab, text};
use anyedge_tests::processes::wait_for;

use super::clients::{Kept, VIP};

/// How long a client waits: two SYNs of the kernel.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Opens a connection from a client; the kernel's error, if there is one.
fn connect(lab: &Lab) -> Option<io::ErrorKind> {
    lab.inside("client.osaka", || {
        let to = SocketAddr::from((VIP, 80));
        let opened = TcpStream::connect_timeout(&to, PATIENCE);
        Ok(opened.err().map(|error| error.kind()))
    })
}

fn order(lab: &Lab, words: &[&str]) {
    let all = [&["security-group"], words].concat();
    let output = lab.ctl(&all);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_group_shuts_a_client_out_in_silence_and_what_it_had_open_goes_on() {
    let Some(lab) = Lab::up("guard", &[]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let mut open = Kept::open(&lab, SocketAddr::from((VIP, 80)));
    open.still_answers();
    let rules = [
        "--ingress",
        "203.0.113.10+8080 allow",
        "--ingress",
        "any drop",
    ];
    order(&lab, &[&["set", "shut"], &rules[..]].concat());
    for host in ["host.web-1", "host.web-2"] {
        order(&lab, &["bind", host, "shut"]);
    }
    // No RST, no ICMP: the kernel gives up by its own clock.
    wait_for("a client that waits in vain", || {
        connect(&lab) == Some(io::ErrorKind::TimedOut)
    });
    open.still_answers();
    for host in ["host.web-1", "host.web-2"] {
        order(&lab, &["bind", host]);
    }
    wait_for("service", || connect(&lab).is_none());
    open.still_answers();
}
