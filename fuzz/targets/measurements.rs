//! Tables of measured round trips and traces of figures, in CSV: read from files beside a topology, as they always are.
//!
//! A mistake in one names it, and stands where the topology names it. What is accepted gives the same on every reading,
//! and round trips that can be had.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::LazyLock;
use std::time::Duration;

use anyedge_topologies::Topology;

use crate::input::Input;

/// A folder of this process's own.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let build = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = build.join(format!("measurements-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made where builds go");
    folder
});

const HEAD: &str = "schema = 1
[vip.game]
address = \"203.0.113.10\"
clb = \"main\"
[pop.tokyo]
city = \"tokyo\"
[region.home]
city = \"guangzhou\"
[clb.main]
region = \"home\"
listener.web = { port = \"tcp/80\", targets = \"web\" }
[targets.web]
port = 8080
servers = [{ ip = \"10.0.0.11\" }]
[link.tokyo-home]
between = [\"pop.tokyo\", \"region.home\"]
[client.osaka]
city = \"osaka\"
";
const LOAD: &str =
    "load = { kind = \"request\", rate = \"2/s\", size = \"10KiB\", to = \"game:web\" }\n";
const TRACED: &str = "load = { kind = \"request\", rate = \"2/s\", size = { distribution = \"trace\", file = \"fuzzed.csv\", column = \"bytes\" }, to = \"game:web\" }\n";
const SQUARE: &str = "[rtt]\nmatrix = \"fuzzed.csv\"\n";
const LONG: &str = "[rtt]\nmatrix = \"fuzzed.csv\"\nfrom = \"src\"\nto = \"dst\"\nrtt = \"avg\"\njitter = \"mdev\"\n";

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let text = match input.byte() % 3 {
        0 => [HEAD, LOAD, SQUARE].concat(),
        1 => [HEAD, LOAD, LONG].concat(),
        _ => [HEAD, TRACED].concat(),
    };
    let table = FOLDER.join("fuzzed.csv");
    fs::write(&table, input.rest()).expect("a file in it can be written");
    let file = FOLDER.join("fuzzed.toml").display().to_string();
    let read = Topology::parse(&file, &text);
    assert_eq!(read, Topology::parse(&file, &text));
    match read {
        Ok(topology) => {
            for link in topology.links.values() {
                assert!(link.rtt > Duration::ZERO, "{link:?}");
                assert!(link.line.jitter <= link.rtt, "{link:?}");
            }
        }
        Err(mistakes) => {
            let named = table.display().to_string();
            let lines = text.lines().count();
            for mistake in &mistakes {
                assert!((1..=lines).contains(&mistake.line), "{mistake:?}");
                let is_told = mistake.reason.contains(&named);
                assert!(is_told || mistake.object != "rtt", "{mistake:?}");
            }
        }
    }
}
