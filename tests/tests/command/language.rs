//! `anyedge fmt`, `schema`, `import` and `completions` as a user meets them, and files that include others.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyedge_tests::binary::{Profile, path, root, run};
use serde_json::Value;

/// A folder of a test's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("anyedge-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the folder is ours");
        path.to_str().expect("our own name is UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Exit code, stdout, stderr.
fn anyedge(args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(Profile::Debug, args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn two_pops() -> String {
    fs::read_to_string(root().join("topologies/two-pops.toml")).expect("the shipped file exists")
}

#[test]
fn fmt_lays_a_file_out_in_place_and_then_has_nothing_to_do() {
    let folder = Folder::new("fmt");
    let untidy = two_pops().replace(" = ", "   =") + "\n\n\n# the end\n";
    let file = folder.write("untidy.toml", &untidy);
    let (code, out, _) = anyedge(&["fmt", "--check", &file]);
    assert_eq!(
        (code, out.contains("not laid out")),
        (Some(1), true),
        "{out}"
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), untidy);
    assert_eq!(anyedge(&["fmt", &file]).0, Some(0));
    let tidy = fs::read_to_string(&file).expect("it is there");
    assert!(tidy.ends_with("\n\n# the end\n"), "comments stay: {tidy}");
    assert_eq!(anyedge(&["fmt", "--check", &file]).0, Some(0));
    assert_eq!(anyedge(&["check", &file]).0, Some(0));
    let broken = folder.write("broken.toml", "schema = \n");
    let (code, _, err) = anyedge(&["fmt", &broken, &file]);
    assert_eq!(code, Some(2));
    assert!(err.contains("broken.toml:1:10: "), "{err}");
}

#[test]
fn the_schema_is_json_and_knows_every_kind_of_object() {
    let (code, out, _) = anyedge(&["schema"]);
    assert_eq!(code, Some(0));
    let schema: Value = serde_json::from_str(&out).expect("it is JSON");
    for kind in [
        "vip", "pop", "region", "link", "clb", "targets", "client", "fault", "slo",
    ] {
        assert!(schema["properties"][kind].is_object(), "{kind}");
    }
}

const GML: &str = r#"graph [
  Network "Three"
  node [ id 0 label "Tokyo" Latitude 35.6895 Longitude 139.69171 ]
  node [ id 1 label "Osaka" Latitude 34.69374 Longitude 135.50218 ]
  node [ id 2 label "Fukuoka" Latitude 33.6 Longitude 130.41667 ]
  edge [ source 0 target 1 LinkSpeedRaw 1000000000 ]
  edge [ source 1 target 2 ]
]
"#;

#[test]
fn a_network_in_gml_becomes_a_topology_that_runs() {
    let folder = Folder::new("gml");
    let gml = folder.write("three.gml", GML);
    let out = folder.0.join("three.toml").display().to_string();
    let (code, _, err) = anyedge(&["import", "gml", &gml, "--out", &out]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (code, told, err) = anyedge(&["check", &out]);
    assert_eq!(code, Some(0), "{err}");
    assert!(told.contains("3 POPs"), "{told}");
    let args = ["sim", "--quiet", "--duration", "3s", "--json", "-", &out];
    let (code, report, err) = anyedge(&args);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&report).expect("it is JSON");
    let clients = report["clients"].as_array().expect("a list");
    assert_eq!(clients.len(), 3);
    assert!(
        clients
            .iter()
            .all(|client| client["requests"]["ok"].as_u64() > Some(0))
    );
    let (code, _, err) = anyedge(&["import", "gml", &gml, "--region", "Osako"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean `Osaka`?"), "{err}");
    let broken = folder.write("broken.gml", "graph [\n node [ id x ]\n]");
    let (code, _, err) = anyedge(&["import", "gml", &broken]);
    assert_eq!(code, Some(2));
    assert!(err.contains("broken.gml:2:12: "), "{err}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for args in [&["completions", "bash"][..], &["schema"]] {
        let mut child = Command::new(path(Profile::Debug))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_mistake_in_an_included_file_names_that_file_and_shows_its_line() {
    let folder = Folder::new("include");
    let text = two_pops();
    let clients = text.find("[client.").expect("it has clients");
    let (network, rest) = text.split_at(clients);
    fs::create_dir_all(folder.0.join("parts")).expect("the folder is ours");
    folder.write("parts/network.toml", network);
    let whole = format!("schema = 1\ninclude = [\"parts/network.toml\"]\n{rest}");
    let file = folder.write("whole.toml", &whole);
    let (code, _, err) = anyedge(&["check", &file]);
    assert_eq!(code, Some(0), "{err}");
    let broken = network.replacen("rtt = \"", "rtt = \"-", 1);
    assert_ne!(broken, network, "the network has a round trip");
    folder.write("parts/network.toml", &broken);
    let (code, _, err) = anyedge(&["check", &file]);
    assert_eq!(code, Some(2));
    let line = broken
        .lines()
        .position(|line| line.contains("rtt = \"-"))
        .expect("it is there")
        + 1;
    assert!(
        err.contains(&format!("parts/network.toml:{line}:")),
        "{err}"
    );
    assert!(err.contains("rtt = \"-"), "it shows the line: {err}");
    let mut list = fs::File::create(Path::new(&file)).expect("it is ours");
    writeln!(
        list,
        "schema = 1\ninclude = [\"parts/network.toml\", \"no.toml\"]"
    )
    .expect("written");
    let (_, _, err) = anyedge(&["check", &file]);
    assert!(err.contains("whole.toml:2:34: file: `include`: "), "{err}");
}
