//! The command line: what can be asked, with examples.

mod control;
mod explain;
mod language;
mod lint;
mod load;
mod machines;
mod sweep;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyedge_live::prefix::Prefix;
use anyedge_topologies::{Wrong, units};
use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use machines::{BundleArgs, DoctorArgs, ExportCommand};

pub(crate) use control::{
    AutoscalingCommand, ControllerArgs, CtlArgs, CtlCommand, DevArgs, LeaderCommand,
    MembersCommand, SecurityArgs, SecurityGroupCommand, TargetCommand, VipCommand,
};
pub(crate) use explain::ExplainArgs;
pub(crate) use language::{FmtArgs, GmlArgs, ImportCommand, SchemaArgs};
pub(crate) use lint::LintArgs;
pub(crate) use load::{LoadArgs, ServeArgs};
pub(crate) use sweep::{Band, PlotArgs, SweepArgs};

const AFTER_HELP: &str = "\
Examples:
  anyedge sim topologies/global-14.toml              14 cities, one run, a report and a verdict
  anyedge sim topologies/two-pops.toml --json -      the same as JSON on stdout
  anyedge sim topologies/two-pops.toml --set link.tokyo-guangzhou.loss=1%
                                                     the same with a key of the file set otherwise
  anyedge diff topologies/two-pops.toml planned.toml what a change would change for clients
  anyedge explain topologies/pop-down.toml --from osaka --to game:web --at 25s
                                                     where a flow goes then, hop by hop, and why
  anyedge sweep topologies/two-pops.toml --seeds 1..1000 --out runs
                                                     the same under a thousand seeds, on all cores
  anyedge check topologies/*.toml                    every mistake at once, with its place
  anyedge lint topologies/*.toml                     what is no mistake and would surprise all the same
  anyedge dev topologies/two-pops.toml               three controllers on this machine; then: anyedge ctl targets
  anyedge lab up topologies/two-pops.toml            real packets, in network namespaces (root)
  anyedge load --to 203.0.113.10:80 --rate 200/s     requests in an open loop, latency from when they were due

Exit codes: 0 service levels kept, 1 one broken, 2 bad input, 3 internal error.";

/// An anycast edge network that can be rehearsed and then run.
#[derive(Parser, Debug)]
#[command(name = "anyedge", version, about, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Runs a topology in the deterministic simulator and judges its service levels
    Sim(SimArgs),
    /// Reads topology files and prints every mistake with its place
    Check(CheckArgs),
    /// Looks through topology files without a mistake for what would surprise all the same
    Lint(LintArgs),
    /// Lays topology files out; comments stay
    Fmt(FmtArgs),
    /// Prints the JSON Schema of topology files, for editors
    Schema(SchemaArgs),
    /// Makes a topology of another tool's file
    #[command(subcommand)]
    Import(ImportCommand),
    /// Runs two topologies with one seed and says what changes: catchments, latencies, shares, broken flows
    Diff(DiffArgs),
    /// Follows one flow of a client to its target and back, and says why it goes there
    Explain(ExplainArgs),
    /// Runs a topology under many seeds and settings, and keeps every figure of each run
    Sweep(SweepArgs),
    /// Draws one figure of a sweep's runs over another, with confidence bands
    Plot(PlotArgs),
    /// Starts three controllers on this machine with a topology applied
    Dev(DevArgs),
    /// Speaks with controllers: shows and changes the table that they keep
    Ctl(CtlArgs),
    /// Runs one controller
    Controller(ControllerArgs),
    /// Runs a topology with real packets in network namespaces on this machine
    Lab(LabArgs),
    /// Looks for what would keep a node from working on this machine, and says what to type against it
    Doctor(DoctorArgs),
    /// Writes what each machine of a topology needs: configuration, certificates, units
    Bundle(BundleArgs),
    /// Writes a topology for other tools
    #[command(subcommand)]
    Export(ExportCommand),
    /// Runs a topology in the simulator and in a lab, and says how far their latencies are apart (root)
    Compare(CompareArgs),
    /// Sends a load in an open loop and tells how long its answers took
    Load(LoadArgs),
    /// Answers loads and HTTP, as a lab's demo backend does
    Serve(ServeArgs),
    /// Runs one node of a topology: a POP, a CLB node or a vSwitch, on this machine's network
    Node(NodeArgs),
    /// Writes a script by which a shell completes this command
    Completions(CompletionsArgs),
}

/// `anyedge sim`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge sim topologies/global-14.toml
  anyedge sim topologies/global-14.toml --seed 7 --duration 120s
  anyedge sim topologies/global-14.toml --report report.html
  anyedge sim topologies/two-pops.toml --json report.json
  anyedge sim topologies/two-pops.toml --json - | jq .digest
  anyedge sim topologies/pop-down.toml --junit slos.xml --csv figures.csv --hgrm latencies
  anyedge sim topologies/two-pops.toml --duration 1s --pcap links
  anyedge sim topologies/pop-down.toml --set fault.0.at=5s --set defaults.ccn.encap=gre

The same topology, seed and version give the same digest, in every process.")]
pub(crate) struct SimArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Root of all randomness [default: the file's, else 1]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Simulated time in which clients send, such as 60s [default: the file's]
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Also writes the report as JSON, to a file or with `-` to stdout (and then no tables)
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) results: ResultArgs,
    /// What the trace digest covers of each packet
    #[arg(long, value_enum, default_value_t = DigestCover::Headers)]
    pub(crate) digest: DigestCover,
    /// Lists every link with its packets and losses
    #[arg(long)]
    pub(crate) links: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What a run is written down as, beside its JSON.
#[derive(clap::Args, Debug)]
pub(crate) struct ResultArgs {
    /// Also writes the report as one page of HTML: map, latencies, timeline, failover budget, tables
    #[arg(long, value_name = "PATH")]
    pub(crate) report: Option<PathBuf>,
    /// Also writes every figure as CSV in long format, a row each with version, seed and hash of the topology
    #[arg(long, value_name = "PATH")]
    pub(crate) csv: Option<PathBuf>,
    /// Also writes the service levels as JUnit XML
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    /// Also writes the latencies of each load as .hgrm files, into a folder
    #[arg(long, value_name = "DIR")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Also writes what each link delivers as pcapng files, into a folder, with a comment on each packet that names its
    /// flow and what was decided about it
    #[arg(long, value_name = "DIR")]
    pub(crate) pcap: Option<PathBuf>,
}

/// `anyedge diff`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge diff topologies/two-pops.toml planned.toml
  anyedge diff topologies/two-pops.toml --set client.osaka.public.tokyo=300ms
  anyedge diff topologies/pop-down.toml --set 'fault=[]' --json

Both are run with one seed, and what the change does not touch happens alike in both.
Exit codes: 0 no service level is broken by the change, 1 one is, 2 bad input, 3 internal error.")]
pub(crate) struct DiffArgs {
    /// The topology as it is
    pub(crate) before: PathBuf,
    /// The topology as it may be [default: the same file, with what --set says]
    pub(crate) after: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Root of all randomness of both [default: the first file's, else 1]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Simulated time in which clients of both send, such as 60s [default: the first file's]
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// `anyedge completions`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge completions bash > /etc/bash_completion.d/anyedge
  anyedge completions zsh > ~/.zfunc/_anyedge
  anyedge completions fish > ~/.config/fish/completions/anyedge.fish")]
pub(crate) struct CompletionsArgs {
    /// Of which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Keys of a topology file that are set otherwise.
#[derive(clap::Args, Debug)]
pub(crate) struct Overrides {
    /// Sets a key of the file before it is read, such as link.tokyo-guangzhou.loss=1% or fault.0.at=5s; may be
    /// given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// How much of each packet the digest covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DigestCover {
    /// All headers and the length
    Headers,
    /// Every byte
    Full,
}

/// `anyedge compare`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples (as root):
  anyedge compare topologies/two-pops.toml
  anyedge compare topologies/two-pops.toml --plot two-pops.svg
  anyedge compare topologies/two-pops.toml --duration 60s --set fault=[] --json

The lab's wires have the links of the file, and its clients send at the times at which the simulator's do, one host for each
population; pings and kept connections are added where the file has none. First calmly: ticks, pings and kept connections
must be within 5 % at the median and 15 % at p99; loads that begin with a handshake are only told, since the simulator's TCP
is another. Then with the file's faults, as far as a lab can have them, for the file's duration: populations must enter by
the same POPs, flows be kept alike, and parts of the failover within 20 %.

Exit codes: 0 near enough, 1 not, 2 bad input, 3 internal error.")]
pub(crate) struct CompareArgs {
    /// The topology file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// How long clients send calmly
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// Draws distributions, failovers and answers over time as one SVG page
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `anyedge check`
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  anyedge check topologies/*.toml")]
pub(crate) struct CheckArgs {
    /// The topology files
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The mistakes as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `anyedge lab`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples (as root):
  anyedge lab up topologies/two-pops.toml
  anyedge lab up topologies/two-pops.toml --backend nginx
  anyedge lab exec client.osaka curl -s http://203.0.113.10/
  anyedge lab status
  anyedge ctl --lab lab target set gz-main/web/10.0.0.12:8080 --weight 0
  anyedge lab fault crash pop.tokyo --for 10s
  anyedge lab fault link tokyo-guangzhou loss 5% --for 10s
  anyedge lab bench
  anyedge lab capture pop.tokyo --out tokyo.pcapng --for 5s
  anyedge lab down

Each node is a process of this program in a namespace of its own, named as in the file.")]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum LabCommand {
    /// Builds the namespaces and starts every node; returns when all of them answer
    Up {
        /// The topology file
        file: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// Who answers on the backends' hosts
        #[arg(long, value_enum, default_value_t = BackendChoice::Demo)]
        backend: BackendChoice,
        /// What wires are like: as fast as the kernel, or with the delays, rates and losses of the file's links
        #[arg(long, value_enum, default_value_t = Links::Bare)]
        links: Links,
    },
    /// Shows each node: namespace, process, whether it answers
    Status {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Runs a command in a node's namespace and returns its exit code
    Exec {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// The node, as in the file: pop.tokyo, region.guangzhou.clb-1, host.web-1, client.osaka
        node: String,
        /// The command and its arguments, passed on untouched
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Measures what a running lab carries: requests, connections, downloads and ticks from a client to a VIP
    #[command(after_help = "\
Examples:
  anyedge lab bench
  anyedge lab bench --client client.berlin --v6 --for 10s --json

Generator, nodes and backends share this machine's processors: the figures are of all of them together. The backends must
be the demo's, which answer what `anyedge load` sends.

Exit codes: 0 measured, 1 a load got no answer at all, 2 bad input, 3 internal error.")]
    Bench {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// Who sends, such as client.osaka [default: the file's first population]
        #[arg(long)]
        client: Option<String>,
        /// How long each of the five loads lasts
        #[arg(long = "for", value_parser = duration, default_value = "5s", value_name = "TIME")]
        time: Duration,
        /// To the VIP's IPv6 address
        #[arg(long)]
        v6: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// No progress on stderr
        #[arg(long, short)]
        quiet: bool,
    },
    /// Shows every link of a lab with `--links file`: whether it is up, what it carried and what it lost, by cause
    Links {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Has a fault befall a process or a link of the lab, for a while
    Fault {
        /// The lab's name
        #[arg(long, default_value = "lab", global = true)]
        name: String,
        #[command(subcommand)]
        fault: FaultCommand,
    },
    /// Writes what is on the wires of a node to a pcapng file, both ends of each
    Capture {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
        /// A node (pop.tokyo) or one of its interfaces (pop.tokyo:ccn0)
        of: String,
        /// The file
        #[arg(long, default_value = "lab.pcapng", value_name = "FILE")]
        out: PathBuf,
        /// For how long
        #[arg(long = "for", value_parser = duration, default_value = "10s", value_name = "TIME")]
        time: Duration,
        /// At most so many packets
        #[arg(long, default_value_t = 1_000_000, value_name = "N")]
        packets: u64,
    },
    /// Stops every node and removes everything that `up` made
    Down {
        /// The lab's name
        #[arg(long, default_value = "lab")]
        name: String,
    },
}

/// `anyedge lab fault`
#[derive(Subcommand, Debug)]
pub(crate) enum FaultCommand {
    /// Kills a process, and starts it again afterwards
    Crash {
        /// pop.tokyo, region.guangzhou.clb-1, controller.a, backend.web-1, ..
        process: String,
        /// For how long it is away
        #[arg(long = "for", value_parser = duration, default_value = "10s", value_name = "TIME")]
        time: Duration,
    },
    /// Stops a process without ending it, and has it go on afterwards
    Hang {
        /// As for a crash
        process: String,
        /// For how long
        #[arg(long = "for", value_parser = duration, default_value = "10s", value_name = "TIME")]
        time: Duration,
    },
    /// Has a link go down or get worse, and be what it was afterwards
    #[command(after_help = "\
Examples:
  anyedge lab fault link tokyo-guangzhou down --for 10s
  anyedge lab fault link tokyo-guangzhou loss 5% delay 40ms --from pop.tokyo --for 10s
  anyedge lab fault link client.osaka--pop.tokyo rate 10Mbps      until anyedge lab fault clear

Words and values are those of a file's `degrade`: loss, delay (or latency: on top of the link's own), jitter, rate, reorder,
duplicate, corrupt, mtu. Wires without the file's links can only go down: see `lab up --links file`.")]
    Link {
        /// A link of the file, host.NAME, or two ends: client.osaka--pop.tokyo
        link: String,
        /// down, or what gets worse with its value
        #[arg(required = true, value_name = "down|WHAT VALUE ..")]
        words: Vec<String>,
        /// Only what is sent from this end, such as pop.tokyo
        #[arg(long, value_name = "END")]
        from: Option<String>,
        /// For how long [default: until `anyedge lab fault clear`]
        #[arg(long = "for", value_parser = duration, value_name = "TIME")]
        time: Option<Duration>,
    },
    /// Starts whatever has ended, has go on whatever was stopped, and makes links what the file says
    Clear,
}

/// What the wires of a lab are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Links {
    /// As fast as the kernel
    Bare,
    /// With the delays, rates and losses of the file's links
    File,
}

impl From<Links> for anyedge_live::lab::Links {
    fn from(links: Links) -> Self {
        match links {
            Links::Bare => Self::Bare,
            Links::File => Self::AsInFile,
        }
    }
}

/// `anyedge node`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples (as root, or with CAP_NET_ADMIN and CAP_NET_RAW):
  anyedge node --topology two-pops.toml --name pop.tokyo
                                     its table is what the file says; SIGHUP reads the file again
  anyedge node --topology two-pops.toml --name pop.tokyo --data /var/lib/anyedge \\
      --controllers 10.0.0.1:7300,10.0.0.2:7300,10.0.0.3:7300 --identity pop.tokyo.identity.json
                                     its table comes from the controllers; SIGHUP reads the certificate again
  anyedge node --topology two-pops.toml --name backend.web-1
                                     a demo backend on that host

Ends at SIGTERM and SIGINT within a second. `anyedge bundle FILE` writes all that each host needs.")]
pub(crate) struct NodeArgs {
    /// The topology file
    #[arg(long)]
    pub(crate) topology: PathBuf,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// The node, as in the file: pop.tokyo, region.guangzhou.clb-1, host.web-1, or backend.web-1
    #[arg(long)]
    pub(crate) name: String,
    /// Follows these controllers, whichever answers [default: the file's own table]
    #[arg(long, value_name = "ADDRESS:PORT,..", value_delimiter = ',')]
    pub(crate) controllers: Vec<String>,
    /// The file with its certificate, for controllers and for paths that show one
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// Keeps the last table here, to begin with after a restart
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The table that the controllers were founded with, to begin with before it has heard them
    #[arg(long, value_name = "FILE")]
    pub(crate) founding: Option<PathBuf>,
    /// A socket on which it says that it is ready, and how it stands
    #[arg(long, value_name = "SOCKET")]
    pub(crate) ready: Option<PathBuf>,
    /// Answers a Prometheus server here: on loopback or the management network, for whoever reaches it may read
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Threads of its data plane, among which flows are shared out [default: one for each processor, 4 at most]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) workers: Option<u8>,
    /// For how long its workers look for the next packet before they sleep, as long as nobody else wants the processor: 0s to
    /// 10ms. With 0s they sleep at once, which saves power and answers later
    #[arg(long, value_name = "TIME", value_parser = busy_poll, default_value = "50us")]
    pub(crate) busy_poll: Duration,
    /// A network of clients whose answers a CLB node with `return = "route"` takes from its hosts: may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub(crate) clients: Vec<Prefix>,
    /// The lab whose wires it works at
    #[arg(long, hide = true)]
    pub(crate) lab: Option<String>,
    /// Runs as this user, who takes along no more than CAP_NET_ADMIN and CAP_NET_RAW
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

/// Who answers on the backends' hosts of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum BackendChoice {
    /// The demo backend: HTTP with bodies of any length, raw exchanges, datagrams
    Demo,
    /// nginx, where it is installed: HTTP, and a log with clients' addresses
    Nginx,
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// A time of a run, its beginning included.
fn moment(text: &str) -> Result<Duration, String> {
    understood(units::duration(text))
}

fn duration(text: &str) -> Result<Duration, String> {
    understood(units::duration_above_zero(text))
}

fn busy_poll(text: &str) -> Result<Duration, String> {
    understood(units::duration_within(
        text,
        Duration::ZERO..=Duration::from_millis(10),
    ))
}

/// A mistake in a value, as clap tells it.
fn understood<T>(value: Result<T, Wrong>) -> Result<T, String> {
    value.map_err(|wrong| match wrong.hint {
        Some(hint) => format!("{}: {hint}", wrong.reason),
        None => wrong.reason,
    })
}
