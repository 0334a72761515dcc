//! A node of a lab whose tunnel address is moved while it runs.

use std::fs;

use anyedge_tests::binary::root;
use anyedge_tests::labs::{FORWARDERS, Lab, TWO_POPS, text};
use anyedge_tests::processes::{signal, wait_for};
use anyedge_tests::two_machines::Scratch;
use anyedge_topologies::Topology;
use nix::sys::signal::Signal;

const MOVED: &str = "10.77.0.1";

fn shell(lab: &Lab, node: &str, line: &str) {
    let ran = lab.exec(node, &["sh", "-c", line]);
    assert!(
        ran.status.success(),
        "{node}: {line}: {}",
        text(&ran.stderr)
    );
}

#[test]
fn a_pop_whose_tunnel_address_is_moved_goes_on_without_a_restart() {
    let folder = Scratch::new();
    fs::create_dir_all(folder.path()).expect("a folder");
    let file = folder.path().join("two-pops.toml");
    fs::copy(root().join(TWO_POPS), &file).expect("it is shipped");
    let path = file.to_string_lossy();
    let Some(lab) = Lab::of(&path, "smoved", &["--set", "defaults.routes=static"]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let topology = Topology::load(&file).expect("it is sound");
    let old = topology.pops["tokyo"].underlay.v4.expect("it has both");
    // The machine gets the address, the network ways to it, then nodes their table.
    shell(&lab, "pop.tokyo", &format!("ip addr add {MOVED}/32 dev lo"));
    let others = FORWARDERS[1..].iter().chain(&["ccn.underlay"]);
    let way = format!("ip route add {MOVED} $(ip route get {old} | grep -o 'via [0-9.]*')");
    others.for_each(|node| shell(&lab, node, &way));
    let pids = || -> Vec<(String, u32)> {
        let nodes = lab.status().nodes.into_iter();
        let all = nodes.flat_map(|node| node.processes);
        let own = all.filter(|process| FORWARDERS.contains(&process.name.as_str()));
        own.map(|process| (process.name, process.pid)).collect()
    };
    let before = pids();
    let sound = fs::read_to_string(&file).expect("it is there");
    let tokyo = format!("[pop.tokyo]\nunderlay = \"{MOVED}\"");
    fs::write(&file, sound.replace("[pop.tokyo]", &tokyo)).expect("it is ours");
    before
        .iter()
        .for_each(|(_, pid)| signal(*pid, Signal::SIGHUP));
    for node in FORWARDERS {
        wait_for("the other table", || {
            lab.metrics(node)["anyedge_table_revision"] == 2.0
        });
    }
    shell(&lab, "pop.tokyo", &format!("ip addr del {old}/32 dev lo"));
    let sent = || lab.metrics("pop.tokyo")["anyedge_packets_transmitted_total"];
    wait_for("its session", || {
        let all = lab.metrics("region.guangzhou.clb-1");
        all["anyedge_session_up{path=\"tokyo-guangzhou\",peer=\"pop.tokyo\"}"] == 1.0
    });
    let counted = sent();
    for _ in 0..5 {
        wait_for("service", || lab.who_answers().is_some());
    }
    assert!(sent() > counted, "by Tokyo");
    assert_eq!(pids(), before, "nobody was started anew");
}
