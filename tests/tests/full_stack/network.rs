//! The network of a seed and what goes wrong in it, as a topology file.
//!
//! Three or five controllers at three places. Between [`FAULTS_FROM`] and [`HEALED`] a drawn handful of faults strikes;
//! then all is well again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyedge_net::rng::{Rng, Seed};
use anyedge_tests::ground::ground;
use anyedge_topologies::Topology;

/// The first fault strikes no earlier.
pub(crate) const FAULTS_FROM: Duration = Duration::from_millis(1_500);
/// No fault lasts longer.
pub(crate) const HEALED: Duration = Duration::from_secs(7);
/// Clients begin nothing any more.
pub(crate) const CLIENTS_STOP: Duration = Duration::from_millis(12_500);
/// The end of a run.
const END: &str = "15s";

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const PLACES: [&str; 5] = ["tokyo", "guangzhou", "osaka", "guangzhou", "tokyo"];

/// What a seed plays.
pub(crate) struct Plan {
    pub(crate) topology: Topology,
    /// The file that it was read from.
    pub(crate) text: String,
    /// Controllers by the numbers that they begin with.
    pub(crate) controllers: BTreeMap<u64, String>,
    /// When leadership is handed over, and to whom.
    pub(crate) transfers: Vec<(Duration, u64)>,
    /// How many clients there are.
    pub(crate) clients: u64,
    /// Faults by their kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Plan {
        let mut rng = Seed(seed).stream("full stack", "plan");
        let count = if rng.below(3) == 0 { 5 } else { 3 };
        let loss = ["0%", "0.1%", "0.5%", "1%"][rng.below(4) as usize];
        let mut text = format!(
            "schema = 1\nname = \"full-stack\"\nduration = \"{END}\"\nseed = {seed}\n\n[defaults]\nprobe = false\nroutes = \"static\"\n\
             management.loss = \"{loss}\"\nmanagement.jitter = \"1ms\"\n{}",
            ground(["8ms", "5ms"], 2, 1)
        );
        for (name, place) in NAMES.iter().zip(PLACES).take(count) {
            let line = write!(text, "[controller.{name}]\nat = \"{place}\"\n");
            line.expect("a string grows");
        }
        let mut plan = Plan {
            topology: parse(&text).expect("the network makes sense"),
            text,
            controllers: (1..)
                .zip(&NAMES[..count])
                .map(|(id, name)| (id, format!("controller.{name}")))
                .collect(),
            transfers: Vec::new(),
            clients: 4 + rng.below(5),
            faults: BTreeMap::new(),
        };
        for _ in 0..3 + rng.below(6) {
            plan.add_fault(&mut rng);
        }
        plan
    }

    fn add_fault(&mut self, rng: &mut Rng) {
        let latest = HEALED - FAULTS_FROM;
        let at = FAULTS_FROM + rng.up_to(latest - Duration::from_millis(300));
        let lasts =
            (Duration::from_millis(200) + rng.up_to(Duration::from_millis(2_500))).min(HEALED - at);
        if rng.below(8) == 0 {
            let to = 1 + rng.below(self.controllers.len() as u64);
            self.transfers.push((at, to));
            *self.faults.entry("transfer").or_default() += 1;
            return;
        }
        let (kind, verb) = self.draw(rng);
        // A clock that has jumped has no way back.
        let until = match kind {
            "jump" => String::new(),
            _ => format!("for = \"{}ms\"\n", lasts.as_millis()),
        };
        let fault = format!("[[fault]]\nat = \"{}ms\"\n{until}{verb}\n", at.as_millis());
        let text = format!("{}{fault}", self.text);
        // Two faults of one machine at a time are a mistake of the file: then this one is left out.
        if let Some(topology) = parse(&text) {
            self.topology = topology;
            self.text = text;
            *self.faults.entry(kind).or_default() += 1;
        }
    }

    /// A fault's kind and what it says in the file.
    fn draw(&self, rng: &mut Rng) -> (&'static str, String) {
        let all: Vec<&String> = self.controllers.values().collect();
        let one = all[rng.below(all.len() as u64) as usize];
        let minority = (all.len() - 1) / 2;
        let first = rng.below(all.len() as u64) as usize;
        let several = (0..1 + rng.below(minority as u64 + 1) as usize)
            .map(|more| format!("\"{}\"", all[(first + more) % all.len()]));
        let several = several.collect::<Vec<_>>().join(", ");
        let side = if rng.below(3) == 0 {
            "\"controller.leader\"".to_owned()
        } else {
            several
        };
        let direction = ["in", "out"][rng.below(2) as usize];
        let wiped = self.faults.contains_key("wipe");
        match rng.below(13) {
            0 | 1 => ("crash", format!("down = \"{one}\"")),
            2 | 3 => ("leader crash", "down = \"controller.leader\"".to_owned()),
            // Whoever loses its log has to be replaced before the next one does.
            4 if !wiped => ("wipe", format!("down = \"{one}\"\nwipe = true")),
            4 | 5 => ("hang", format!("hang = \"{one}\"")),
            6 => ("partition", format!("partition = [{side}]")),
            7 => (
                "one-way",
                format!("partition = [{side}]\ndirection = \"{direction}\""),
            ),
            8 => {
                let loss = 10 + rng.below(60);
                ("grey", format!("partition = [{side}]\nloss = \"{loss}%\""))
            }
            9 => {
                let sync = 5 + rng.below(100);
                (
                    "slow disk",
                    format!("disk = \"{one}\"\nsync = \"{sync}ms\""),
                )
            }
            10 => ("full disk", format!("disk = \"{one}\"\nfull = true")),
            11 => {
                let drift = rng.below(200_000) as i64 - 100_000;
                (
                    "drift",
                    format!("clock = \"{one}\"\ndrift = \"{drift}ppm\""),
                )
            }
            _ => {
                let jump = 100 + rng.below(5_000);
                ("jump", format!("clock = \"{one}\"\njump = \"{jump}ms\""))
            }
        }
    }
}

fn parse(text: &str) -> Option<Topology> {
    Topology::parse("full-stack.toml", text).ok()
}
