//! Files that include others: whose word counts, where paths begin, and whose mistake it is.

use std::fs;
use std::path::PathBuf;

use anyedge_topologies::{Diagnostic, Shape, Topology};

/// A folder of a test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("anyedge-include-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("parts")).expect("the temporary folder can be written");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the folder is ours");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sample() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sample.toml");
    fs::read_to_string(path).expect("the sample")
}

fn told(mistakes: &[Diagnostic]) -> String {
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    told.join("\n")
}

fn load(path: &PathBuf) -> Topology {
    Topology::load(path).unwrap_or_else(|mistakes| panic!("{}", told(&mistakes)))
}

#[test]
fn what_a_file_says_itself_wins_and_faults_and_levels_add_up() {
    let folder = Folder::new("wins");
    folder.write("parts/base.toml", &sample());
    let own = r#"
schema = 1
include = ["parts/base.toml"]
duration = "40s"
[link.tokyo-guangzhou]
rtt = "60ms"
[client.osaka]
count = 3
[[fault]]
at = "5s"
for = "2s"
down = "link.frankfurt-guangzhou"
[[slo]]
of = "fault.0"
expect = "recovery < 30s"
"#;
    let topology = load(&folder.write("own.toml", own));
    let link = &topology.links["tokyo-guangzhou"];
    assert_eq!(
        (link.rtt.as_millis(), link.line.rate_bps),
        (60, 10_000_000_000)
    );
    assert_eq!(topology.clients["osaka"].count, 3);
    assert_eq!(topology.duration.as_secs(), 40);
    assert_eq!(topology.name, "own");
    let faults: Vec<(usize, &str)> = topology
        .faults
        .iter()
        .map(|fault| (fault.number(), fault.object.as_str()))
        .collect();
    assert_eq!(faults, [(0, "link.frankfurt-guangzhou"), (1, "pop.tokyo")]);
    let levels: Vec<String> = topology.slos.iter().map(|slo| slo.of.to_string()).collect();
    assert_eq!(levels, ["fault.0", "client.osaka"]);
}

#[test]
fn files_that_include_each_other_are_read_once() {
    let folder = Folder::new("circle");
    let (network, clients) = sample()
        .split_once("[client.osaka]")
        .map(|(network, clients)| (network.to_owned(), format!("[client.osaka]{clients}")))
        .expect("the sample has a client");
    let network = network.replace(
        "schema = 1",
        "schema = 1\ninclude = [\"../own.toml\", \"clients.toml\"]",
    );
    folder.write("parts/network.toml", &network);
    folder.write("parts/clients.toml", &clients);
    let own = folder.write("own.toml", "schema = 1\ninclude = \"parts/network.toml\"\n");
    let topology = load(&own);
    assert_eq!(topology.clients.len(), 1);
    let beside: Vec<_> = topology.files_beside().collect();
    let parts = folder.0.join("parts");
    assert_eq!(
        beside,
        [parts.join("network.toml"), parts.join("clients.toml")]
    );
    let before = topology.hash;
    folder.write("parts/clients.toml", &(clients + "\n# a word more\n"));
    assert_ne!(load(&own).hash, before, "all texts count");
}

#[test]
fn a_trace_is_found_from_the_folder_of_the_file_that_names_it() {
    let folder = Folder::new("trace");
    let drawn = "size = { kind = \"trace\", file = \"sizes.csv\", column = \"bytes\" }";
    let text = sample().replace("size = \"10KiB\"", drawn);
    assert_ne!(text, sample());
    folder.write("parts/base.toml", &text);
    folder.write("parts/sizes.csv", "at,bytes\n1,100\n2,10KiB\n");
    let own = folder.write("own.toml", "schema = 1\ninclude = [\"parts/base.toml\"]\n");
    let topology = load(&own);
    let sizes = topology.clients["osaka"].loads[0].sizes.as_ref();
    assert_eq!(
        sizes.map(|sizes| &sizes.shape),
        Some(&Shape::Trace([100, 10_240].into()))
    );
    let before = topology.hash;
    folder.write("parts/sizes.csv", "at,bytes\n1,100\n2,200\n");
    assert_ne!(load(&own).hash, before, "a trace counts");
    folder.write("parts/sizes.csv", "at,bytes\n1,100\n2,many\n");
    let mistakes = Topology::load(&own).expect_err("no figure");
    let first = mistakes[0].to_string();
    assert!(first.contains("parts/base.toml:29:"), "{first}");
    assert!(first.contains("sizes.csv:3: \"many\""), "{first}");
}

#[test]
fn each_mistake_is_told_of_its_own_file() {
    let folder = Folder::new("mistakes");
    folder.write("parts/base.toml", &sample().replace("\"52ms\"", "\"52\""));
    folder.write("parts/broken.toml", "[pop.lima\n");
    let own =
        "schema = 1\ninclude = [\"parts/base.toml\", \"parts/none.toml\"]\ndurration = \"9s\"\n";
    let path = folder.write("own.toml", own);
    let mistakes = Topology::load(&path).expect_err("one file is missing");
    assert_eq!(mistakes.len(), 1, "{}", told(&mistakes));
    assert!(told(&mistakes).contains("own.toml:2:31: file: `include`: "));
    let path = folder.write("own.toml", &own.replace("none", "broken"));
    let mistakes = Topology::load(&path).expect_err("one is no TOML");
    assert!(
        told(&mistakes).contains("parts/broken.toml:1:10: file: not TOML"),
        "{}",
        told(&mistakes)
    );
    let path = folder.write("own.toml", &own.replace(", \"parts/none.toml\"", ""));
    let mistakes = told(&Topology::load(&path).expect_err("two figures are wrong"));
    assert!(
        mistakes.contains("own.toml:3:1: file: `durration`"),
        "{mistakes}"
    );
    assert!(
        mistakes.contains("parts/base.toml:14:7: link.tokyo-guangzhou: `rtt`"),
        "{mistakes}"
    );
}

#[test]
fn a_file_without_an_end_is_not_read_to_its_end() {
    let text = format!("include = [\"/dev/zero\"]\n{}", sample());
    let mistakes = Topology::parse("x.toml", &text).expect_err("it is no topology");
    let told = told(&mistakes);
    assert!(
        told.contains("/dev/zero has more than 16777216 bytes"),
        "{told}"
    );
}
