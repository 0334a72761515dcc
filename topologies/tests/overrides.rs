//! Keys of a file that a command line sets: what they change, and that they change nothing else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyedge_topologies::{Encap, LoadKind, Topology};

fn with(overrides: &[&str]) -> Topology {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample.toml");
    let text = fs::read_to_string(file).expect("the sample");
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Topology::parse_with("sample.toml", &text, &overrides)
        .unwrap_or_else(|mistakes| panic!("{}", mistakes[0]))
}

#[test]
fn values_are_toml_where_they_read_as_such_and_strings_elsewhere() {
    let topology = with(&[
        "seed=7",
        "blackhole=true",
        "link.tokyo-guangzhou.loss=1%",
        "link.frankfurt-guangzhou.rtt=\"200ms\"",
        "vip.game.publish=[\"tokyo\"]",
        "description=5s of silence",
    ]);
    assert_eq!(topology.seed, 7);
    assert!(topology.announcing.blackhole);
    let rtt = topology.links["frankfurt-guangzhou"].rtt;
    assert_eq!(rtt, Duration::from_millis(200));
    assert_ne!(
        topology.links["tokyo-guangzhou"].line.loss,
        with(&[]).links["tokyo-guangzhou"].line.loss
    );
    assert_eq!(topology.vips["game"].publish.len(), 1);
    assert_eq!(topology.description.as_deref(), Some("5s of silence"));
}

#[test]
fn tables_on_the_way_are_made_and_items_of_arrays_go_by_number() {
    let topology = with(&[
        "defaults.ccn.encap=gre",
        "defaults.host.rtt=2ms",
        "fault.0.at=5s",
        "slo.0.expect.1=broken_flows <= 3",
        "client.osaka.load.kind=tick",
        "client.osaka.load.size=1000B",
        "client.osaka.load.to=game:tick",
        "host.web-1.rtt=9ms",
    ]);
    assert_eq!(topology.links["tokyo-guangzhou"].encap, Encap::Gre);
    assert_eq!(topology.faults[0].at, Duration::from_secs(5));
    assert_eq!(topology.slos[0].expect.len(), 3);
    let kind = &topology.clients["osaka"].loads[0].kind;
    assert!(
        matches!(
            kind,
            LoadKind::Tick {
                payload_bytes: 1_000
            }
        ),
        "{kind:?}"
    );
    assert_eq!(topology.hosts["web-1"].rtt, Duration::from_millis(9));
    assert_eq!(topology.hosts["web-2"].rtt, Duration::from_millis(2));
}

#[test]
fn a_whole_object_can_be_added_and_the_last_word_on_a_key_counts() {
    let spare = "link.spare={ between = [\"pop.tokyo\", \"region.guangzhou\"], rtt = \"60ms\" }";
    let topology = with(&[spare, "link.spare.mtu=1600", "link.spare.mtu=9000"]);
    assert_eq!(topology.links.len(), 3);
    assert_eq!(topology.links["spare"].line.mtu_bytes, 9_000);
    assert_eq!(
        topology.overrides,
        [spare, "link.spare.mtu=1600", "link.spare.mtu=9000"]
    );
    let plain = with(&[]);
    assert_eq!(
        plain.links["tokyo-guangzhou"],
        topology.links["tokyo-guangzhou"]
    );
    assert!(plain.overrides.is_empty());
}
