//! The goodput of one TCP connection beside the formula of Padhye et al., at 6 round trips and 7 shares of loss.
//!
//! `tests/goldens/goodput.txt` has every cell's ratio for both TCPs of simulated hosts, and the cause of each that is off by more
//! than 30 %; `ANYEDGE_UPDATE_GOLDENS=1` writes it anew. The formula's figures are of cases/tcp_models.csv (`padhye_b2`, segments of
//! 1,460 bytes, an acknowledgement for every second one).
//! Where SACK and growth by what is acknowledged lead beyond it, the formula of Mathis et al. says how far (`mathis_C1.2247`).
//! Reference: J. Padhye, V. Firoiu, D. Towsley, J. Kurose, "Modeling TCP Throughput", SIGCOMM 1998, eq. 30; RFC 5348 §3.1;
//! M. Mathis, J. Semke, J. Mahdavi, T. Ott, "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm", 1997.

use std::fmt::Write as _;
use std::fs;

use anyedge_sim::run::Options;
use anyedge_tests::binary::root;
use anyedge_tests::{dataset, story};
use anyedge_topologies::TcpStack;

use super::edge::Edge;

/// Of the formula's figure; a cell beyond names its cause.
const NEAR: f64 = 0.30;
/// Bytes of data of a segment.
const SEGMENT: f64 = 1_460.0;
/// What a connection of the simulator has room for, each way, in bytes.
const WINDOW: f64 = 65_536.0;
/// Losses that a transfer is to meet, if it need not be too long for that.
const LOSSES: f64 = 200.0;
const SEGMENTS_MAX: f64 = 20_000.0;
/// A cell of the table.
struct Cell {
    rtt_ms: u32,
    loss_ppm: u32,
    padhye_bps: f64,
    mathis_bps: f64,
}

fn cells(text: &str) -> Vec<Cell> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let column = |name: &str| {
        let found = header.iter().position(|column| column == name);
        found.unwrap_or_else(|| panic!("a column {name}"))
    };
    let (rtt, loss) = (column("rtt_s"), column("loss"));
    let (padhye, mathis) = (column("padhye_b2_bps"), column("mathis_C1.2247_bps"));
    let cell = |record: csv::StringRecord| {
        let figure = |at: usize| record[at].parse::<f64>().expect("a number");
        Cell {
            rtt_ms: (figure(rtt) * 1e3).round() as u32,
            loss_ppm: (figure(loss) * 1e6).round() as u32,
            padhye_bps: figure(padhye),
            mathis_bps: figure(mathis),
        }
    };
    let records = reader.records();
    records.map(|record| cell(record.expect("a row"))).collect()
}

/// The goodput in bit/s of one answer that is as long as the cell needs, by hosts that speak `tcp`.
fn goodput(cell: &Cell, tcp: TcpStack) -> f64 {
    let share = f64::from(cell.loss_ppm) / 1e6;
    let segments = (LOSSES / share).min(SEGMENTS_MAX);
    let bytes = (segments * SEGMENT) as u64;
    let client = format!(
        "public = {{ tokyo = \"{}ms\" }}
public_loss = \"{}%\"
load = {{ kind = \"request\", rate = \"1/s\", arrivals = \"fixed\", size = \"{bytes}B\", timeout = \"24h\", to = \"game:web\" }}",
        cell.rtt_ms,
        f64::from(cell.loss_ppm) / 1e4,
    );
    let defaults = format!(
        "tcp = \"{}\"\nccn = {{ rate = \"unlimited\", mtu = 9000 }}\nhost = {{ rtt = \"1us\", mtu = 9000 }}",
        tcp.word()
    );
    let edge = Edge {
        top: "duration = \"1s\"\ndrain = \"24h\"",
        defaults: &defaults,
        rtt: "1us",
        listener: "web",
        port: "tcp/80",
        client: &client,
    };
    let report = story::play(&edge.text(), &Options::default());
    let load = &report.clients[0].loads[0];
    assert_eq!(load.service.requests.ok, 1, "it arrives");
    bytes as f64 * 8.0 / (load.stats.intended().max() as f64 / 1e9)
}

/// Why a cell is so far from the formula's figure.
fn cause(cell: &Cell, tcp: TcpStack, found: f64) -> String {
    let window_bps = WINDOW * 8.0 / f64::from(cell.rtt_ms) * 1e3;
    let mathis = found / cell.mathis_bps;
    let is_above = found > cell.padhye_bps;
    match tcp {
        TcpStack::LinuxLike if is_above && (mathis - 1.0).abs() <= NEAR => format!(
            "{mathis:.2} of Mathis et al.: SACK spares timeouts, and what is acknowledged counts, not how often"
        ),
        _ if is_above => panic!("no cause is known: {found:.0} bit/s"),
        _ if cell.padhye_bps > window_bps => {
            "the window of 64 KiB; the formula's has no end".to_owned()
        }
        TcpStack::LinuxLike => panic!("no cause is known: {found:.0} bit/s"),
        // Its least timeout is 1 s (RFC 6298 §2.4), and its fast recovery ends with the first new acknowledgement, as RFC 5681
        // has it and RFC 6582 does not.
        TcpStack::Smoltcp if 4 * cell.rtt_ms < 1_000 => {
            "without SACK two losses in a window end in a timeout, of 1 s at least; the formula's last 4 RTT"
                .to_owned()
        }
        TcpStack::Smoltcp => "without SACK two losses in a window end in a timeout".to_owned(),
    }
}

/// The line of a cell.
fn line(cell: &Cell, tcp: TcpStack) -> String {
    let found = goodput(cell, tcp);
    let ratio = found / cell.padhye_bps;
    let cause = match (ratio - 1.0).abs() <= NEAR {
        true => String::new(),
        false => cause(cell, tcp, found),
    };
    let line = format!(
        "{:>6} ms {:>8} % {:>14.0} {found:>14.0} {ratio:>8.2}  {cause}",
        cell.rtt_ms,
        f64::from(cell.loss_ppm) / 1e4,
        cell.padhye_bps,
    );
    line.trim_end().to_owned()
}

#[test]
fn a_connection_gets_what_the_formula_says_or_it_is_known_why_not() {
    let Some(folder) = dataset::folder() else {
        return;
    };
    let models = fs::read_to_string(folder.join("cases/tcp_models.csv")).expect("it is there");
    let mut table = String::new();
    for tcp in [TcpStack::LinuxLike, TcpStack::Smoltcp] {
        writeln!(
            table,
            "{}\n{:>9} {:>10} {:>14} {:>14} {:>8}",
            tcp.word(),
            "RTT",
            "loss",
            "Padhye, bit/s",
            "found, bit/s",
            "ratio"
        )
        .expect("writing to a string works");
        for cell in cells(&models) {
            writeln!(table, "{}", line(&cell, tcp)).expect("writing to a string works");
        }
    }
    let golden = root().join("tests/goldens/goodput.txt");
    if std::env::var_os("ANYEDGE_UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &table).expect("the golden can be written");
    }
    let committed = fs::read_to_string(golden).expect("the golden is committed");
    assert_eq!(table, committed, "ANYEDGE_UPDATE_GOLDENS=1 writes it anew");
}
