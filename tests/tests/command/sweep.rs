//! Sweeps as a user meets them: the rows of single runs, the same files whoever makes them and however often he is
//! interrupted, what is refused, and drawings.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyedge_tests::binary::{self, Profile, root, run};
use anyedge_tests::labs::text;
use anyedge_tests::processes::wait_for;
use anyedge_tests::two_machines::Scratch;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

const FILE: &str = "topologies/two-pops.toml";
const LOSS: &str = "link.tokyo-guangzhou.loss";
/// A second of two-pops is some hundred packets.
const SHORT: [&str; 4] = ["-q", "--json", "--duration", "1s"];

/// A sweep of two-pops: exit code, what it says, what it complains of.
fn sweep(out: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let out = out.display().to_string();
    let words = [&["sweep", FILE, "--out", &out], &SHORT[..], more].concat();
    let ran = run(Profile::Debug, &words);
    let told = serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null);
    (ran.status.code(), told, text(&ran.stderr))
}

/// The runs of a folder: their files' names and bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let entries = entries.map(|entry| entry.expect("our own folder can be read").path());
    let runs = entries.filter(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    let named = runs.map(|path| {
        let name = path.file_name().expect("a file has a name");
        let bytes = fs::read(&path).expect("our own file");
        (name.to_string_lossy().into_owned(), bytes)
    });
    named.collect()
}

/// A row of a run's file: what all rows of the run have, and object, metric and figure as the CSV has them.
struct Row {
    seed: u64,
    own: [String; 4],
    loss: f64,
    figure: (String, String, String),
}

fn rows(path: &Path) -> Vec<Row> {
    let file = File::open(path).expect("it is there");
    let file = SerializedFileReader::new(file).expect("Parquet");
    let schema = file.metadata().file_metadata().schema_descr();
    let names: Vec<String> = schema
        .columns()
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    let at = |name: &str| {
        names
            .iter()
            .position(|own| own == name)
            .expect("the column")
    };
    let rows = file.get_row_iter(None).expect("rows");
    let rows = rows.map(|row| {
        let row = row.expect("a whole row");
        let text = |name: &str| row.get_string(at(name)).expect("text").clone();
        let value = row.get_double(at("value")).map(|value| value.to_string());
        Row {
            seed: row.get_ulong(at("seed")).expect("a number"),
            own: ["topology", "topology_hash", "version", "digest"].map(text),
            loss: row.get_double(at(LOSS)).expect("a number"),
            figure: (
                text("object"),
                text("metric"),
                value.unwrap_or_else(|_| text("text")),
            ),
        }
    });
    rows.collect()
}

/// The rows that `sim --csv` writes of the same run, without the time on the wall.
fn rows_of_sim(
    folder: &Path,
    seed: &str,
    loss: &str,
) -> (Vec<String>, Vec<(String, String, String)>) {
    let csv = folder.join("sim.csv").display().to_string();
    let set = format!("{LOSS}={loss}");
    let words = [
        "sim",
        FILE,
        "-q",
        "--duration",
        "1s",
        "--seed",
        seed,
        "--set",
        &set,
        "--csv",
        &csv,
    ];
    let ran = run(Profile::Debug, &words);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let all = fs::read_to_string(&csv).expect("it was written");
    let mut own = Vec::new();
    let rows = all.lines().skip(1).map(|row| {
        let fields: Vec<&str> = row.splitn(8, ',').collect();
        own = [fields[0], fields[1], fields[2], fields[4]]
            .map(str::to_owned)
            .to_vec();
        let figure = match fields[7] {
            "true" => "1".to_owned(),
            "false" => "0".to_owned(),
            // As a number of 64 bits, where it is one.
            other => other
                .parse()
                .map_or(other.trim_matches('"').to_owned(), |it: f64| it.to_string()),
        };
        (fields[5].to_owned(), fields[6].to_owned(), figure)
    });
    let rows: Vec<_> = rows
        .filter(|(_, metric, _)| !matches!(&**metric, "wall_s" | "memory_peak_bytes"))
        .collect();
    (own, rows)
}

#[test]
fn a_sweep_has_the_rows_that_single_runs_have() {
    let scratch = Scratch::new();
    let set = format!("{LOSS}=0,5%");
    let (code, told, complaints) = sweep(scratch.path(), &["--seeds", "3,7", "--set", &set]);
    assert_eq!(code, Some(0), "{complaints}");
    for (key, count) in [
        ("runs", 4),
        ("made", 4),
        ("found", 0),
        ("settings", 2),
        ("runs_broken", 0),
    ] {
        assert_eq!(told[key], count, "{key} of {told}");
    }
    let mut seen = Vec::new();
    for name in files(scratch.path()).keys() {
        let rows = rows(&scratch.path().join(name));
        let Row {
            seed, loss, own, ..
        } = &rows[0];
        seen.push((*seed, *loss as u64));
        assert!(
            rows.iter()
                .all(|row| (&row.seed, &row.loss, &row.own) == (seed, loss, own))
        );
        let alone = rows_of_sim(scratch.path(), &seed.to_string(), &format!("{loss}%"));
        assert_eq!(own.to_vec(), alone.0, "{name}");
        let figures: Vec<_> = rows.into_iter().map(|row| row.figure).collect();
        assert!(figures.len() > 200, "{} rows", figures.len());
        assert_eq!(figures, alone.1, "{name}");
    }
    seen.sort_unstable();
    assert_eq!(seen, [(3, 0), (3, 5), (7, 0), (7, 5)]);

    let alone = Scratch::new();
    let (code, told, _) = sweep(alone.path(), &[]);
    assert_eq!((code, &told["made"]), (Some(0), &Value::from(1)));
    let names: Vec<String> = files(alone.path()).into_keys().collect();
    assert!(
        names[0].ends_with("-1.parquet"),
        "the file's own seed: {names:?}"
    );
}

#[test]
fn shards_and_a_sweep_that_is_killed_and_begun_again_make_the_files_of_one_go() {
    let set = format!("{LOSS}=0,1%");
    let all = ["--seeds", "1..8", "--set", &set];
    let whole = Scratch::new();
    let (code, told, complaints) = sweep(whole.path(), &all);
    assert_eq!(
        (code, &told["made"]),
        (Some(0), &Value::from(16)),
        "{complaints}"
    );
    let whole = files(whole.path());
    assert_eq!(whole.len(), 16);

    let shards = Scratch::new();
    let mut runs = 0;
    for shard in ["1/3", "2/3", "3/3"] {
        let more = [&all[..], &["--shard", shard, "--jobs", "1"]].concat();
        let (code, told, _) = sweep(shards.path(), &more);
        assert_eq!((code, &told["found"]), (Some(0), &Value::from(0)));
        runs += told["made"].as_u64().expect("a count");
    }
    assert_eq!(runs, 16, "no run is of two shards");
    assert!(files(shards.path()) == whole, "shards make other files");

    let killed = Scratch::new();
    // With so much to do that it is in the middle whenever it is killed: far more seeds under the first of the settings.
    let mut child = begin(killed.path(), &["--seeds", "1..9999", "--set", &set]);
    wait_for("the first runs", || files(killed.path()).len() >= 2);
    child.kill().expect("it is our own");
    child.wait().expect("it is our own");
    let ours = || {
        let mut there = files(killed.path());
        there.retain(|name, _| whole.contains_key(name));
        there
    };
    let there = ours();
    let count = there.len() as u64;
    assert!((2..=8).contains(&count), "it was in the middle: {count}");
    // A file that is damaged is no run either, nor is one that was being written.
    let (damaged, bytes) = there.first_key_value().expect("some are there");
    fs::write(killed.path().join(damaged), &bytes[..bytes.len() / 2]).expect("our own folder");
    let partial = killed.path().join(format!(".{damaged}.4711.partial"));
    fs::write(&partial, bytes).expect("our own folder");
    let (code, told, _) = sweep(killed.path(), &all);
    let counts = ["found", "made"].map(|key| told[key].as_u64().expect("a count"));
    assert_eq!((code, counts), (Some(0), [count - 1, 17 - count]));
    assert!(ours() == whole, "the second go makes other files");
    let (_, told, _) = sweep(killed.path(), &all);
    assert_eq!(
        (&told["found"], &told["made"]),
        (&Value::from(16), &Value::from(0))
    );
}

fn begin(out: &Path, more: &[&str]) -> Child {
    Command::new(binary::path(Profile::Debug))
        .args(["sweep", FILE, "--jobs", "1", "--out"])
        .arg(out)
        .args(SHORT)
        .args(more)
        .current_dir(root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command can be run")
}

#[test]
fn a_level_broken_in_any_run_exits_1_with_counts_also_when_the_run_was_there() {
    let scratch = Scratch::new();
    let set = "slo.0.expect=[\"p50 < 40ms\"],[\"p50 < 2s\"]";
    for found in [0, 4] {
        let (code, told, complaints) = sweep(scratch.path(), &["--seeds", "1..2", "--set", set]);
        assert_eq!(
            (code, &told["found"]),
            (Some(1), &Value::from(found)),
            "{complaints}"
        );
        assert_eq!(told["runs_broken"], 2);
        let levels = told["slos"].as_array().expect("a list").iter();
        let broken: Vec<(&str, u64)> = levels
            .filter_map(|it| Some((it["expect"].as_str()?, it["broken"].as_u64()?)))
            .filter(|(_, broken)| *broken > 0)
            .collect();
        assert_eq!(broken, [("p50 < 40ms", 2)]);
    }
    let out = scratch.path().display().to_string();
    let words = [
        "sweep",
        FILE,
        "-q",
        "--duration",
        "1s",
        "--seeds",
        "1..2",
        "--set",
        set,
        "--out",
        &out,
    ];
    let told = text(&run(Profile::Debug, &words).stdout);
    assert!(
        told.contains("service levels BROKEN in 2 of 4 runs"),
        "{told}"
    );
}

#[test]
fn a_folder_takes_more_of_its_sweep_and_nothing_of_another() {
    let scratch = Scratch::new();
    let made = |more: &[&str]| {
        let (code, told, complaints) = sweep(scratch.path(), more);
        (
            code,
            told["found"].as_u64(),
            told["made"].as_u64(),
            complaints,
        )
    };
    let set = |values: &str| format!("{LOSS}={values}");
    let (code, found, own, told) = made(&["--seeds", "1", "--set", &set("0,1%")]);
    assert_eq!((code, found, own), (Some(0), Some(0), Some(2)), "{told}");
    let (code, found, own, told) = made(&["--seeds", "1..2", "--set", &set("0,1%")]);
    assert_eq!((code, found, own), (Some(0), Some(2), Some(2)), "{told}");
    for (more, wanted) in [
        (vec!["--seeds", "1"], "nothing"),
        (vec!["--set", "fault.0.at=5s,6s"], "fault.0.at"),
        (
            vec![
                "--set",
                "link.tokyo-guangzhou.loss=0,1%",
                "--duration",
                "2s",
            ],
            "1s",
        ),
    ] {
        // The last word of one kind counts.
        let more: Vec<&str> = more;
        let out = scratch.path().display().to_string();
        let mut words = vec!["sweep", FILE, "-q", "--out", &out];
        words.extend(&more);
        if !more.contains(&"--duration") {
            words.extend(["--duration", "1s"]);
        }
        let ran = run(Profile::Debug, &words);
        let told = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{told}");
        assert!(
            told.contains(wanted) && told.contains("another --out"),
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_swept_exits_2_with_a_hint_and_makes_nothing() {
    let scratch = Scratch::new();
    for (more, wanted) in [
        (["--seeds", "9..1"], "1..9"),
        (["--seeds", "one"], "1..1000"),
        (["--seeds", "1..1000001"], "in parts"),
        (["--seeds", "1..3,2"], "each seed once"),
        (["--shard", "5/4"], "1/4 to 4/4"),
        (["--shard", "half"], "such as 3/16"),
        (["--set", "link.tokyo-guangzhou.loss"], "there is no `=`"),
        (
            ["--set", "link.tokyo-guangzhou.loss=1%,,2%"],
            "an empty value",
        ),
        (
            ["--set", "link.tokyo-guangzhou.loss=1%,1.0%"],
            "each value once",
        ),
        (
            ["--set", "link.tokyo-guangzhou.los=1%,2%"],
            "did you mean `loss`?",
        ),
        (
            ["--set", "link.tokio-guangzhou.loss=1%"],
            "did you mean `tokyo-guangzhou`?",
        ),
        (["--set", "link.tokyo-guangzhou.loss=1%,200%"], "0% to 100%"),
        (["--set", "seed=1,2"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
    ] {
        let (code, told, complaints) = sweep(scratch.path(), &more);
        assert_eq!(
            (code, told),
            (Some(2), Value::Null),
            "{more:?}: {complaints}"
        );
        assert!(complaints.contains(wanted), "no `{wanted}` in {complaints}");
    }
    assert!(!scratch.path().exists(), "nothing was made");
}

/// The names of the elements of a drawing, which has to be well formed.
fn elements(svg: &str) -> BTreeMap<String, usize> {
    let mut reader = Reader::from_str(svg);
    reader.config_mut().check_end_names = true;
    let mut names = BTreeMap::new();
    let mut depth = 0_i32;
    loop {
        match reader.read_event().expect("well formed") {
            Event::Start(element) => {
                depth += 1;
                *names.entry(text(element.name().as_ref())).or_insert(0) += 1;
            }
            Event::Empty(element) => *names.entry(text(element.name().as_ref())).or_insert(0) += 1,
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "an element is not closed");
    names
}

const P99: &str = "client.osaka latency_ms.p99";

/// A folder with four seeds under three settings, and where to draw it.
struct Swept {
    scratch: Scratch,
    svg: String,
}

impl Swept {
    fn new() -> Swept {
        let scratch = Scratch::new();
        let set = format!("{LOSS}=0,2%,8%");
        let (code, _, complaints) = sweep(scratch.path(), &["--seeds", "1..4", "--set", &set]);
        assert!(matches!(code, Some(0 | 1)), "{complaints}");
        let svg = scratch.path().join("plot.svg").display().to_string();
        Swept { scratch, svg }
    }

    fn plot(&self, x: &str, y: &str, more: &[&str]) -> (Option<i32>, String, String) {
        let folder = self.scratch.path().display().to_string();
        let words = ["plot", &folder, "--x", x, "--y", y, "--out", &self.svg];
        let ran = run(Profile::Debug, &[&words[..], more].concat());
        (ran.status.code(), text(&ran.stdout), text(&ran.stderr))
    }

    fn drawn(&self) -> String {
        fs::read_to_string(&self.svg).expect("it was written")
    }

    /// A figure of each run, by what the loss was set to.
    fn figures(&self, object: &str, metric: &str) -> BTreeMap<u64, Vec<f64>> {
        let mut runs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for name in files(self.scratch.path()).keys() {
            for row in rows(&self.scratch.path().join(name)) {
                if (row.figure.0.as_str(), row.figure.1.as_str()) == (object, metric) {
                    let figure = row.figure.2.parse().expect("a number");
                    runs.entry(row.loss as u64).or_default().push(figure);
                }
            }
        }
        runs
    }
}

#[test]
fn a_drawing_has_a_band_and_its_points_are_the_runs() {
    let swept = Swept::new();
    let (code, told, complaints) = swept.plot(LOSS, P99, &["--json"]);
    assert_eq!(code, Some(0), "{complaints}");
    let drawn = swept.drawn();
    let bands = elements(&drawn).get("polygon").copied();
    assert_eq!(bands, Some(1), "one line has one band");
    for name in ["link.tokyo-guangzhou.loss (%)", P99] {
        assert!(drawn.contains(name), "no {name} in {drawn}");
    }
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let points = told["lines"][0]["points"].as_array().expect("a list");
    let runs = swept.figures("client.osaka", "latency_ms.p99");
    assert_eq!((points.len(), runs.len()), (3, 3));
    for (point, (loss, own)) in points.iter().zip(&runs) {
        let at = (point["x"].as_f64(), point["runs"].as_u64());
        assert_eq!(at, (Some(*loss as f64), Some(4)));
        let mean = own.iter().sum::<f64>() / 4.0;
        let squares: f64 = own.iter().map(|figure| (figure - mean).powi(2)).sum();
        // t of 97.5 % with three degrees of freedom.
        let half = 3.182 * (squares / 3.0).sqrt() / 2.0;
        let wanted = [mean, mean - half, mean + half];
        let told = [&point["mean"], &point["ci95"][0], &point["ci95"][1]];
        for (told, wanted) in told.iter().zip(wanted) {
            let told = told.as_f64().expect("a number");
            assert!((told - wanted).abs() < 1e-6, "{point}: not {wanted}");
        }
    }

    let more = ["--by", LOSS, "--band", "both"];
    let (code, _, complaints) = swept.plot("seed", "client.osaka requests.sent", &more);
    assert_eq!(code, Some(0), "{complaints}");
    let drawn = swept.drawn();
    elements(&drawn);
    assert!(drawn.contains("link.tokyo-guangzhou.loss = 8 %"), "{drawn}");
}

#[test]
fn a_column_that_no_run_has_exits_2_with_the_nearest_one() {
    let swept = Swept::new();
    for (x, y, wanted) in [
        (
            "link.tokyo-guangzhou.los",
            P99,
            "did you mean `link.tokyo-guangzhou.loss`?",
        ),
        (
            LOSS,
            "client.osaka latncy_ms.p99",
            "did you mean `latency_ms.p99`?",
        ),
        (
            LOSS,
            "client.oska latency_ms.p99",
            "did you mean `client.osaka`?",
        ),
        (LOSS, "packet_hop", "did you mean `packet_hops`?"),
    ] {
        let (code, _, told) = swept.plot(x, y, &[]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(wanted), "no `{wanted}` in {told}");
    }
    let (code, _, told) = swept.plot("seed", P99, &["--by", "sed"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("did you mean `seed`?"), "{told}");

    let empty = Scratch::new();
    fs::create_dir(empty.path()).expect("a folder of our own");
    let empty = empty.path().display().to_string();
    let words = ["plot", &empty, "--x", "seed", "--y", "events", "--json"];
    let ran = run(Profile::Debug, &words);
    assert_eq!(ran.status.code(), Some(2));
    let told = text(&ran.stderr);
    assert!(told.contains("anyedge sweep"), "{told}");
}
