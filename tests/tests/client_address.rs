//! Listeners that tell their targets who the client is: everybody is served, whatever is lost on the way.

use std::fs;
use std::time::Duration;

use anyedge_sim::report::Report;
use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::story::play;

const WAYS: [&str; 4] = [
    "toa = \"254\"",
    "toa = \"200\"",
    "proxy_protocol = \"v1\"",
    "toa = \"254\", proxy_protocol = \"v2\"",
];

/// The smallest topology with a listener that tells clients so, and hosts whose links lose one packet of a hundred.
fn told(way: &str) -> String {
    let file = root().join("topologies/two-pops.toml");
    let text = fs::read_to_string(file).expect("the shipped file exists");
    let web = "listener.web = { ";
    assert!(text.contains(web));
    let text = text.replace(web, &format!("{web}{way}, "));
    // The simulated TCP waits a second before it sends again, and twice as long each time.
    let text = text.replace("to = \"game:web\"", "to = \"game:web\", timeout = \"20s\"");
    format!("{text}\n[host.web-1]\nloss = \"1%\"\n[host.web-2]\nloss = \"1%\"\n")
}

fn calm(seconds: u64) -> Options {
    Options {
        duration: Some(Duration::from_secs(seconds)),
        ..Options::default()
    }
}

/// All requests are answered; a datagram that was lost is.
fn is_served(report: &Report, way: &str) {
    for client in &report.clients {
        let loads = client.loads.iter().filter(|load| load.kind == "request");
        for load in loads {
            let requests = &load.service.requests;
            assert!(requests.ok > 50, "{way}: {} {requests:?}", client.name);
            assert!(
                requests.failed.is_empty(),
                "{way}: {} {requests:?}",
                client.name
            );
        }
    }
}

#[test]
fn requests_are_answered_whichever_way_targets_are_told_and_with_packets_lost_before_them() {
    for way in WAYS {
        is_served(&play(&told(way), &calm(7)), way);
    }
}
