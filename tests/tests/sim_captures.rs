//! `anyedge sim --pcap`: the files hold what links delivered, no more and no less, and tshark reads all of it.
//!
//! Files are read once by the `pcap-file` crate, and once by tshark, which dissects the tunnels and finds what was sent again
//! by itself. Where tshark is not installed its part is skipped, and says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyedge_tests::binary::{Profile, run};
use anyedge_tests::labs::text;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;

/// A folder of this test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let own = format!("anyedge-pcap-{}-{name}", std::process::id());
        Folder(std::env::temp_dir().join(own))
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the run made it");
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        files.sort();
        files
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a file with captures into `folder`; its report.
fn captured(folder: &Folder, file: &str, args: &[&str]) -> Value {
    let path = folder.0.display().to_string();
    let own = ["sim", file, "-q", "--json", "-", "--pcap", &path];
    let ran = run(Profile::Debug, &[&own, args].concat());
    let code = ran.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", text(&ran.stderr));
    serde_json::from_slice(&ran.stdout).expect("the report is JSON")
}

/// A packet of a file.
struct Packet {
    interface: String,
    at: u128,
    len: usize,
    comment: String,
}

fn packets(file: &Path) -> Vec<Packet> {
    let mut reader = PcapNgReader::new(File::open(file).expect("it is there")).expect("a pcapng");
    let (mut interfaces, mut packets) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.expect("a sound block") {
            Block::InterfaceDescription(own) => {
                let name = own.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                let nanos = InterfaceDescriptionOption::IfTsResol(9);
                assert!(own.options.contains(&nanos), "{}", file.display());
                interfaces.push(name.expect("it has a name"));
            }
            Block::EnhancedPacket(own) => {
                let comment = own.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
                    _ => None,
                });
                packets.push(Packet {
                    interface: interfaces[own.interface_id as usize].clone(),
                    at: own.timestamp.as_nanos(),
                    len: own.data.len(),
                    comment: comment.expect("every packet has one"),
                });
            }
            other => panic!("{other:?}"),
        }
    }
    packets
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn has_tshark() -> bool {
    let has = Command::new("tshark").arg("--version").output().is_ok();
    if !has {
        eprintln!("SKIPPED: tshark is not installed");
    }
    has
}

/// What tshark finds in a file.
fn tshark(file: &Path, args: &[&str]) -> String {
    let command = Command::new("tshark")
        .arg("-n")
        .arg("-r")
        .arg(file)
        .args(args)
        .output();
    let output = command.expect("it is installed");
    assert!(
        output.status.success(),
        "{}: {}",
        file.display(),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// How many packets of a file a filter takes.
fn count(file: &Path, filter: &str) -> usize {
    let found = tshark(file, &["-Y", filter, "-T", "fields", "-e", "frame.number"]);
    found.lines().count()
}

/// That tshark reads every file and finds nothing malformed; how many packets it read.
fn all_sound(folder: &Folder) -> usize {
    let mut read = 0;
    for file in folder.files() {
        let malformed = tshark(
            &file,
            &["-Y", "_ws.malformed || _ws.expert.severity >= 8388608"],
        );
        assert_eq!(malformed, "", "{}", file.display());
        read += tshark(&file, &["-T", "fields", "-e", "frame.number"])
            .lines()
            .count();
    }
    read
}

#[test]
fn captures_of_a_second_hold_exactly_what_links_delivered() {
    let folder = Folder::new("second");
    let report = captured(&folder, "topologies/two-pops.toml", &["--duration", "1s"]);
    let plain = run(
        Profile::Debug,
        &[
            "sim",
            "topologies/two-pops.toml",
            "-q",
            "--duration",
            "1s",
            "--json",
            "-",
        ],
    );
    let plain: Value = serde_json::from_slice(&plain.stdout).expect("the report is JSON");
    assert_eq!(
        report["digest"], plain["digest"],
        "a capture changes nothing"
    );
    assert_eq!(
        report["retransmissions"], 0,
        "nothing is lost in this second"
    );

    let (mut by_interface, mut comments) = (BTreeMap::new(), String::new());
    for file in folder.files() {
        let mut before = 0;
        for packet in packets(&file) {
            assert!(packet.at >= before, "{}: time runs back", file.display());
            before = packet.at;
            assert!(packet.len > 0);
            *by_interface.entry(packet.interface).or_insert(0) += 1;
            comments += &(packet.comment + "\n");
        }
    }
    let sum: u64 = by_interface.values().sum();
    assert_eq!(report["packet_hops"], sum);
    let links = report["links"].as_array().expect("a list");
    let delivered = links.iter().map(|link| {
        let name = link["name"].as_str().expect("a name").to_owned();
        (name, link["delivered"].as_u64().expect("a count"))
    });
    let delivered: BTreeMap<String, u64> = delivered.filter(|(_, count)| *count > 0).collect();
    assert_eq!(by_interface, delivered);
    for wanted in [
        "; pop.tokyo sent it to region.guangzhou.clb-1 over tokyo-guangzhou in slot ",
        "; region.guangzhou.clb-1 chose target 10.0.0.11:8080, ",
        " gave it to the backend, received it",
        "; pop.frankfurt let it out to the Internet, put it on pop.frankfurt>client.berlin",
        "flow tcp 198.18.",
        "flow udp [2001:db8:c::",
        " -> 203.0.113.10:80;",
    ] {
        assert!(comments.contains(wanted), "no comment says `{wanted}`");
    }
    if has_tshark() {
        assert_eq!(all_sound(&folder) as u64, sum);
        reads_times_names_and_comments(&folder);
    }
}

/// That tshark finds what we wrote beside the packets.
fn reads_times_names_and_comments(folder: &Folder) {
    let file = folder.file("client.osaka--pop.tokyo.pcapng");
    let time = tshark(
        &file,
        &["-c", "1", "-T", "fields", "-e", "frame.time_epoch"],
    );
    let first = packets(&file)[0].at;
    let nanos = format!("{}.{:09}", first / 1_000_000_000, first % 1_000_000_000);
    assert_eq!(time.trim(), nanos, "to the nanosecond");
    let named = tshark(&file, &["-T", "fields", "-e", "frame.interface_name"]);
    assert!(named.contains("client.osaka>pop.tokyo\n"), "{named}");
    let noted = tshark(&file, &["-T", "fields", "-e", "frame.comment"]);
    assert!(noted.contains("pop.tokyo sent it to "), "{noted}");
}

#[test]
fn a_folder_that_cannot_be_made_is_said_before_the_run() {
    let args = [
        "sim",
        "topologies/two-pops.toml",
        "-q",
        "--pcap",
        "/dev/null/links",
    ];
    let ran = run(Profile::Debug, &args);
    assert_eq!(ran.status.code(), Some(3));
    assert!(
        text(&ran.stderr).contains("/dev/null/links: "),
        "{}",
        text(&ran.stderr)
    );
    assert!(ran.stdout.is_empty());
}

#[test]
fn tshark_dissects_every_kind_of_tunnel() {
    if !has_tshark() {
        return;
    }
    for (encap, filter, inner) in [
        ("gre", "gre.key && ip.proto == 47", "gre && tcp.port == 80"),
        (
            "gre-udp",
            "udp.dstport == 4754 && gre.key",
            "gre && tcp.port == 80",
        ),
        ("quic", "quic", "quic"),
        ("grpc", "tcp.len > 0 && tls", "tls"),
    ] {
        let folder = Folder::new(encap);
        let set = format!("defaults.ccn.encap={encap}");
        let args = ["--duration", "2s", "--set", &set];
        captured(&folder, "topologies/bench/encapsulations.toml", &args);
        all_sound(&folder);
        let file = folder.file("pop.west--region.east.pcapng");
        assert!(count(&file, filter) > 20, "{encap}: {}", tshark(&file, &[]));
        assert!(count(&file, inner) > 10, "{encap}: {}", tshark(&file, &[]));
    }
}

/// The backbone loses packets; wires in front of it and behind it show both ends' segments all, sent once or again.
#[test]
fn tshark_counts_as_many_retransmissions_as_the_report() {
    if !has_tshark() {
        return;
    }
    let folder = Folder::new("again");
    let args = ["--duration", "30s", "--set", "link.west-east.loss=3%"];
    let report = captured(&folder, "topologies/bench/encapsulations.toml", &args);
    all_sound(&folder);
    let again = "tcp.analysis.retransmission || tcp.analysis.fast_retransmission \
                 || tcp.analysis.spurious_retransmission || tcp.analysis.out_of_order";
    let of = |file: &str, interface: &str| {
        let filter = format!("frame.interface_name == \"{interface}\" && ({again})");
        count(&folder.file(file), &filter) as u64
    };
    let clients = of("client.web--pop.west.pcapng", "client.web>pop.west");
    let backends = of("host.web-1--region.east.pcapng", "host.web-1>region.east");
    let told = report["retransmissions"].as_u64().expect("a count");
    assert!(told > 20, "{told}: there is nothing to compare");
    assert_eq!(clients + backends, told, "{clients} + {backends}");
}
