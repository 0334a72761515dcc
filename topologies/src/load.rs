//! What a population of clients sends: requests and long flows over TCP, ticks over UDP or pings, in an open loop.
//!
//! The rate is that of the whole population and does not wait for answers; `in_flight_max` bounds what may
//! be outstanding. Of long flows, it is the rate at which new ones begin.

use std::time::Duration;

use toml::de::DeValue;

use crate::clb::Protocol;
use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::drawn::{Drawn, Shape, Unit};
use crate::names::Kind;
use crate::reader::Reader;
use crate::units::{self, Frequency};

/// Largest payload of a tick: of the largest UDP datagram over IPv4. What is longer than a packet goes in fragments.
const TICK_BYTES_MAX: u64 = 65_507;
/// Smallest payload of a tick or a ping: it carries its number and its time.
const TICK_BYTES_MIN: u64 = 24;
/// Largest payload of a ping: of an ICMP echo that no link needs to cut.
const PING_BYTES_MAX: u64 = 1_400;
/// Largest request or answer, and largest transfer.
const EXCHANGE_BYTES_MAX: u64 = 1 << 30;
/// Fastest pace of a transfer, in bytes per second.
const PACE_MAX: u64 = 1 << 40;
/// Longest silence of an idle flow.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// Sizes that are drawn.
const SIZES: Unit = Unit {
    parse: units::bytes,
    plain: "B",
    example: "\"10KiB\"",
    range: 1..=EXCHANGE_BYTES_MAX,
};
/// How long a load is on, and off.
const PHASES: Unit = Unit {
    parse: units::nanos,
    plain: "ms",
    example: "\"5s\"",
    range: 1_000_000..=3_600_000_000_000,
};
/// Names of the kinds.
const KINDS: [(&str, Word); 10] = [
    ("request", Word::Request),
    ("keep-alive", Word::KeepAlive),
    ("tick", Word::Tick),
    ("ping", Word::Ping),
    ("bulk", Word::Download),
    ("download", Word::Download),
    ("upload", Word::Upload),
    ("idle", Word::Idle),
    ("half-closed", Word::HalfClosed),
    ("syn-flood", Word::SynFlood),
];

/// The file's word for a kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Request,
    KeepAlive,
    Tick,
    Ping,
    Download,
    Upload,
    Idle,
    HalfClosed,
    SynFlood,
}

/// What a population sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests, ticks or long flows, and their sizes.
    pub kind: LoadKind,
    /// How often, for the whole population.
    pub rate: Frequency,
    /// What sizes are drawn from, where it is not always the same: its kind then has their mean.
    pub sizes: Option<Drawn>,
    /// How the moments of sending are spread.
    pub arrivals: Arrivals,
    /// When it pauses; it never does if absent.
    pub bursts: Option<Bursts>,
    /// How long an answer may take before the request has failed; how long a long flow may make no progress.
    pub timeout: Duration,
    /// Name of the VIP it goes to.
    pub vip: String,
    /// Name of the listener of that VIP's CLB; empty for a ping, which goes to the VIP itself.
    pub listener: String,
    /// When it starts.
    pub start: Duration,
    /// When it stops; at the end of the run if absent.
    pub stop: Option<Duration>,
    /// Requests of the whole population that may be outstanding; one beyond is counted as failed.
    pub in_flight_max: u32,
    /// The same load also runs straight over the public path to the home region.
    pub direct: bool,
    /// What the file says of `direct`.
    pub(crate) direct_wanted: Option<bool>,
    /// Path of its table inside the client's, such as `load[0]`.
    pub(crate) path: String,
}

/// What one unit of a load is. A pace is in bytes per second, 0: as fast as TCP goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// One TCP connection each: `request_bytes` there, `answer_bytes` back.
    Request {
        /// Bytes of the request.
        request_bytes: u64,
        /// Bytes of the answer.
        answer_bytes: u64,
    },
    /// The same on connections that are kept for the next ones.
    KeepAlive {
        /// Bytes of the request.
        request_bytes: u64,
        /// Bytes of the answer.
        answer_bytes: u64,
    },
    /// One UDP datagram each, answered by one of the same size.
    Tick {
        /// Bytes of UDP payload.
        payload_bytes: u32,
    },
    /// One ICMP echo each, which the POP answers.
    Ping {
        /// Bytes of payload.
        payload_bytes: u32,
    },
    /// A TCP connection each, on which the backend sends.
    Download {
        /// Bytes of the transfer.
        bytes: u64,
        /// The backend's pace.
        pace: u64,
    },
    /// A TCP connection each, on which the client sends.
    Upload {
        /// Bytes of the transfer.
        bytes: u64,
        /// The client's pace.
        pace: u64,
    },
    /// A TCP connection each, which is asked twice, with a silence between.
    Idle {
        /// Bytes of each of the two answers.
        bytes: u64,
        /// How long it is silent.
        idle: Duration,
    },
    /// SYNs from addresses that are nobody's, never completed: an attack.
    SynFlood,
    /// As a download; the client closes its direction after it has asked.
    HalfClosed {
        /// Bytes of the transfer.
        bytes: u64,
        /// The backend's pace.
        pace: u64,
    },
}

impl LoadKind {
    /// The protocol of a listener that can serve it; `None` of a ping, which needs none.
    #[must_use]
    pub fn protocol(self) -> Option<Protocol> {
        Some(match self {
            LoadKind::Request { .. }
            | LoadKind::KeepAlive { .. }
            | LoadKind::SynFlood
            | LoadKind::Download { .. }
            | LoadKind::Upload { .. }
            | LoadKind::Idle { .. }
            | LoadKind::HalfClosed { .. } => Protocol::Tcp,
            LoadKind::Tick { .. } => Protocol::Udp,
            LoadKind::Ping { .. } => return None,
        })
    }

    /// The file's word for it, such as `half-closed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LoadKind::Request { .. } => "request",
            LoadKind::KeepAlive { .. } => "keep-alive",
            LoadKind::Tick { .. } => "tick",
            LoadKind::Ping { .. } => "ping",
            LoadKind::Download { .. } => "download",
            LoadKind::Upload { .. } => "upload",
            LoadKind::Idle { .. } => "idle",
            LoadKind::HalfClosed { .. } => "half-closed",
            LoadKind::SynFlood => "syn-flood",
        }
    }

    fn timeout_default(self) -> Duration {
        Duration::from_secs(match self {
            LoadKind::Request { .. } | LoadKind::KeepAlive { .. } | LoadKind::SynFlood => 5,
            LoadKind::Tick { .. } | LoadKind::Ping { .. } => 1,
            LoadKind::Download { .. }
            | LoadKind::Upload { .. }
            | LoadKind::Idle { .. }
            | LoadKind::HalfClosed { .. } => 30,
        })
    }
}

/// A load that is on and off in turn: nothing is due while it is off, and its rate is that of the time that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bursts {
    /// How long it is on, in nanoseconds; it begins so.
    pub on: Drawn,
    /// How long it is off.
    pub off: Drawn,
}

impl Bursts {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        for (key, other) in [("on", "off"), ("off", "on")] {
            if reader.field(key).is_none() && reader.field(other).is_some() {
                reader.missing(key, PHASES.example);
            }
        }
        let on = Drawn::read(reader, "on", &PHASES);
        let off = Drawn::read(reader, "off", &PHASES);
        Some(Self { on: on?, off: off? })
    }
}

/// How the moments of sending are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Exponential gaps: independent users.
    Poisson,
    /// Equal gaps.
    Fixed,
}

impl Load {
    /// Where it goes as the file says it, such as `game:web`, or `game` of a ping.
    #[must_use]
    pub fn destination(&self) -> String {
        if self.listener.is_empty() {
            return self.vip.clone();
        }
        format!("{}:{}", self.vip, self.listener)
    }

    pub(crate) fn read(mut reader: Reader<'_>, direct_wanted: Option<bool>) -> Self {
        let word = reader.need("kind", "\"request\"", word);
        let rate = reader.need("rate", "\"200/s\"", units::frequency);
        let sizes = sizes(&mut reader, word);
        let mean = sizes.as_ref().map(mean);
        let kind = kind(&mut reader, word, mean);
        let arrivals = reader.parse("arrivals", "\"poisson\"", |text| match text {
            "poisson" => Ok(Arrivals::Poisson),
            "fixed" => Ok(Arrivals::Fixed),
            _ => Err(one_of(text, "spread of arrivals", &["poisson", "fixed"])),
        });
        let bursts = Bursts::read(&mut reader);
        let timeout = reader.parse("timeout", "\"5s\"", units::duration_above_zero);
        let (vip, listener) = destination(&mut reader);
        let start = reader
            .parse("start", "\"0s\"", units::duration)
            .unwrap_or_default();
        let stop = reader.parse("stop", "\"30s\"", units::duration);
        if let (Some(stop), Some(field)) = (stop, reader.field("stop"))
            && stop <= start
        {
            reader.wrong_at(
                &field,
                Wrong::new("the load stops before it starts", "later than `start`"),
            );
        }
        let in_flight_max = reader
            .integer("in_flight_max", 1..=1_000_000)
            .unwrap_or(1_024);
        let path = reader.path().to_owned();
        reader.finish();
        Self {
            kind,
            rate: rate.unwrap_or(Frequency {
                count: 1,
                per: Duration::from_secs(1),
            }),
            sizes: sizes.flatten(),
            arrivals: arrivals.unwrap_or(Arrivals::Poisson),
            bursts,
            timeout: timeout.unwrap_or(kind.timeout_default()),
            vip,
            listener,
            start,
            stop,
            in_flight_max: u32::try_from(in_flight_max).expect("at most 1,000,000"),
            direct: false,
            direct_wanted,
            path,
        }
    }
}

fn word(text: &str) -> Result<Word, Wrong> {
    let found = KINDS.into_iter().find(|(name, _)| *name == text);
    let names = KINDS.map(|(name, _)| name);
    found
        .map(|(_, word)| word)
        .ok_or_else(|| one_of(text, "kind of load", &names))
}

/// What sizes are drawn from, if the file has a table for them: `Some(None)` if that has a mistake.
fn sizes(reader: &mut Reader<'_>, word: Option<Word>) -> Option<Option<Drawn>> {
    let field = reader.field("size")?;
    let datagrams = matches!(word, Some(Word::Tick | Word::Ping | Word::SynFlood));
    match field.value {
        DeValue::Table(_) if !datagrams => Some(Drawn::read(reader, "size", &SIZES)),
        _ => None,
    }
}

/// The mean size, which stands for all of them.
fn mean(sizes: &Option<Drawn>) -> u64 {
    let Some(sizes) = sizes else { return 1 };
    match sizes.shape {
        Shape::Fixed(size) => size,
        _ => (sizes.mean() as u64).clamp(1, sizes.most),
    }
}

/// The kind with its figures; `mean` is of sizes that are drawn. Without a known one, the figures of all are known keys.
fn kind(reader: &mut Reader<'_>, word: Option<Word>, mean: Option<u64>) -> LoadKind {
    match word {
        Some(Word::Request) => {
            let (request_bytes, answer_bytes) = request(reader, mean);
            LoadKind::Request {
                request_bytes,
                answer_bytes,
            }
        }
        Some(Word::KeepAlive) => {
            let (request_bytes, answer_bytes) = request(reader, mean);
            LoadKind::KeepAlive {
                request_bytes,
                answer_bytes,
            }
        }
        Some(Word::Tick) => tick(reader),
        Some(Word::Ping) => ping(reader),
        Some(Word::Download) => {
            let (bytes, pace) = transfer(reader, mean);
            LoadKind::Download { bytes, pace }
        }
        Some(Word::Upload) => {
            let (bytes, pace) = transfer(reader, mean);
            LoadKind::Upload { bytes, pace }
        }
        Some(Word::HalfClosed) => {
            let (bytes, pace) = transfer(reader, mean);
            LoadKind::HalfClosed { bytes, pace }
        }
        Some(Word::Idle) => idle(reader, mean),
        Some(Word::SynFlood) => LoadKind::SynFlood,
        None => {
            for key in ["request_size", "pace", "idle"] {
                reader.text(key);
            }
            let (request_bytes, answer_bytes) = request(reader, mean);
            LoadKind::Request {
                request_bytes,
                answer_bytes,
            }
        }
    }
}

/// Size and pace of a transfer.
fn transfer(reader: &mut Reader<'_>, mean: Option<u64>) -> (u64, u64) {
    let whole = |text: &str| size(text, 1, EXCHANGE_BYTES_MAX);
    let bytes = mean.or_else(|| reader.need("size", "\"1MiB\"", whole));
    let pace = reader.parse("pace", "\"100KiB/s\"", pace);
    (bytes.unwrap_or(1), pace.unwrap_or(0))
}

fn idle(reader: &mut Reader<'_>, mean: Option<u64>) -> LoadKind {
    let whole = |text: &str| size(text, 1, EXCHANGE_BYTES_MAX);
    let bytes = mean.or_else(|| reader.parse("size", "\"1KiB\"", whole));
    let idle = reader.parse("idle", "\"60s\"", |text| match units::duration(text)? {
        idle if idle > IDLE_MAX => Err(Wrong::new(
            format!("\"{text}\" is too long a silence"),
            "at most \"1h\"",
        )),
        idle if idle.subsec_nanos() % 1_000_000 > 0 => Err(Wrong::new(
            format!("\"{text}\" is finer than a millisecond"),
            "such as \"60s\"",
        )),
        idle => Ok(idle),
    });
    LoadKind::Idle {
        bytes: bytes.unwrap_or(1_024),
        idle: idle.unwrap_or(Duration::from_secs(60)),
    }
}

/// Reads `100KiB/s` in bytes per second; `unlimited` gives 0.
fn pace(text: &str) -> Result<u64, Wrong> {
    if text == "unlimited" {
        return Ok(0);
    }
    let Some(amount) = text.strip_suffix("/s") else {
        return Err(Wrong::new(
            format!("\"{text}\" is no pace"),
            "a size per second, such as \"100KiB/s\", or \"unlimited\"",
        ));
    };
    size(amount, 1, PACE_MAX)
}

/// Bytes of a request and of its answer.
fn request(reader: &mut Reader<'_>, mean: Option<u64>) -> (u64, u64) {
    let whole = |text: &str| size(text, 1, EXCHANGE_BYTES_MAX);
    let answer = mean.or_else(|| reader.need("size", "\"10KiB\"", whole));
    let request = reader.parse("request_size", "\"1KiB\"", |text| {
        size(text, 64, EXCHANGE_BYTES_MAX)
    });
    (request.unwrap_or(1_024), answer.unwrap_or(1))
}

fn tick(reader: &mut Reader<'_>) -> LoadKind {
    let payload = reader.parse("size", "\"1000B\"", |text| {
        size(text, TICK_BYTES_MIN, TICK_BYTES_MAX)
    });
    LoadKind::Tick {
        payload_bytes: u32::try_from(payload.unwrap_or(1_000)).expect("at most 65,507"),
    }
}

fn ping(reader: &mut Reader<'_>) -> LoadKind {
    let payload = reader.parse("size", "\"56B\"", |text| {
        size(text, TICK_BYTES_MIN, PING_BYTES_MAX)
    });
    LoadKind::Ping {
        payload_bytes: u32::try_from(payload.unwrap_or(56)).expect("at most 1,400"),
    }
}

fn size(text: &str, min: u64, max: u64) -> Result<u64, Wrong> {
    match units::bytes(text)? {
        bytes if (min..=max).contains(&bytes) => Ok(bytes),
        _ => Err(Wrong::new(
            format!("\"{text}\" is out of range"),
            format!("{min}B to {max}B"),
        )),
    }
}

/// Reads `to`: `vip:listener`, or a VIP alone. An absent listener stays empty until the CLBs are known.
fn destination(reader: &mut Reader<'_>) -> (String, String) {
    let book = reader.book;
    let to = reader.need("to", "\"game:web\"", |text| {
        let (vip, listener) = text.split_once(':').unwrap_or((text, ""));
        let (_, vip) = book.names.resolve(vip, &[Kind::Vip])?;
        if text.ends_with(':') {
            return Err(Wrong::new(
                "the name of the listener is missing",
                "such as \"game:web\"",
            ));
        }
        Ok((vip, listener.to_owned()))
    });
    to.unwrap_or_default()
}
