//! A load: what a population of client hosts sends, where to, how often and for how long.
//!
//! The rate belongs to the population. Each of its hosts sends its [`Share`], on a stream of arrivals of
//! its own, and all of them together make the rate: exactly so for fixed arrivals, on average for Poisson.

mod from_file;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use anyedge_net::time::Instant;
use anyedge_topologies::{Bursts, Drawn};

use crate::long_flow::{self, Course};
use crate::{exchange, pace, tick};

/// What a population of clients does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// Names the stream of arrivals, such as `game:web`. Loads that are to be compared (through the edge
    /// and past it) bear the same name and so send at the same times.
    pub stream: String,
    /// What one unit of it is.
    pub kind: LoadKind,
    /// How often, all hosts of the population together.
    pub rate: Rate,
    /// How the arrivals lie in time.
    pub arrivals: Arrivals,
    /// Bytes of an answer. A tick is echoed, so its datagram has this size too; of an upload, what is sent.
    pub size: u64,
    /// What the sizes of TCP loads are drawn from, where they differ; [`Load::size`] then has their mean.
    pub sizes: Option<Drawn>,
    /// When it pauses: nothing is due then, and `rate` is that of the rest.
    pub bursts: Option<Bursts>,
    /// Bytes of a request with its header; of [`LoadKind::Request`] and [`LoadKind::KeepAlive`] only.
    pub request_size: u32,
    /// Where to: a VIP and port, or a backend.
    pub to: SocketAddr,
    /// What is not answered this long after its intended time has failed, whether or not its turn came. A
    /// long flow must be established by then, and has failed when it makes no progress for so long.
    pub timeout: Duration,
    /// Arrivals start here.
    pub start: Instant,
    /// No arrival here or later.
    pub stop: Instant,
    /// At most this many are under way at a time from one host; further ones wait for their turn, and
    /// their intended latency grows meanwhile.
    pub in_flight_max: u32,
}

/// What one unit of a load is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadKind {
    /// A raw [`exchange`] on a TCP connection of its own.
    Request,
    /// The same on a connection that is kept for the next one: a new one is opened when all are in use.
    KeepAlive,
    /// A UDP [`tick`].
    Tick,
    /// An ICMP echo, whose bytes are those of a [`tick`]; the port does not count.
    Ping,
    /// A SYN from an address that is not its sender's, which nobody completes; sizes do not count.
    SynFlood,
    /// A [`long_flow`]: asks once, then takes `size` bytes at the server's pace.
    Download {
        /// Bytes per second; 0: as fast as TCP goes.
        pace: u64,
    },
    /// A [`long_flow`]: sends `size` bytes at its own pace and takes a receipt.
    Upload {
        /// Bytes per second; 0: as fast as TCP goes.
        pace: u64,
    },
    /// A [`long_flow`]: asks for `size` bytes, is silent, asks for as many again.
    Idle {
        /// How long it is silent.
        silence: Duration,
    },
    /// A [`long_flow`]: a download that it asks for with the last byte it ever sends.
    HalfClosed {
        /// Bytes per second; 0: as fast as TCP goes.
        pace: u64,
    },
}

impl LoadKind {
    /// How its long flow opens, with `bytes` to carry; `None` for what is no long flow.
    pub(crate) fn long_flow(self, bytes: u64) -> Option<long_flow::Header> {
        let (course, measure) = match self {
            LoadKind::Request
            | LoadKind::KeepAlive
            | LoadKind::Tick
            | LoadKind::Ping
            | LoadKind::SynFlood => return None,
            LoadKind::Download { pace } => (Course::Download, pace),
            LoadKind::Upload { pace } => (Course::Upload, pace),
            LoadKind::HalfClosed { pace } => (Course::HalfClosed, pace),
            LoadKind::Idle { silence } => {
                let millis = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
                (Course::Idle, millis)
            }
        };
        Some(long_flow::Header {
            course,
            bytes,
            measure,
        })
    }
}

/// `count` per `per`: an exact rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// In which time; not zero.
    pub per: Duration,
}

/// How arrivals lie in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrivals {
    /// Each host is a Poisson process of its own: independent users.
    Poisson,
    /// Evenly, the hosts taking turns: metronomes.
    Fixed,
}

/// One host of a population.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Which one, from 0.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

impl Share {
    /// A population of one.
    pub const WHOLE: Share = Share { index: 0, of: 1 };
}

/// Why a load cannot be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// `rate.per` is zero.
    RatePeriod,
    /// `size` is out of range for the kind.
    Size,
    /// `request_size` is out of range.
    RequestSize,
    /// `in_flight_max` is zero: nothing could ever be sent.
    InFlight,
    /// A pace or a silence is out of range.
    Measure,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::RatePeriod => write!(f, "a rate is per a time longer than zero"),
            LoadError::Size => write!(
                f,
                "an answer has at most {} bytes, a tick or a ping {} to {}",
                exchange::ANSWER_BYTES_MAX,
                tick::HEADER_BYTES,
                tick::TICK_BYTES_MAX
            ),
            LoadError::RequestSize => {
                write!(
                    f,
                    "a request has {} to {} bytes",
                    exchange::HEADER_BYTES,
                    exchange::REQUEST_BYTES_MAX
                )
            }
            LoadError::Measure => write!(
                f,
                "a pace is at most {} bytes per second, a silence at most {} s",
                pace::PACE_MAX,
                long_flow::SILENCE_MAX.as_secs()
            ),
            LoadError::InFlight => write!(f, "at least one must be allowed in flight"),
        }
    }
}

impl std::error::Error for LoadError {}

impl Load {
    /// Whether it can be run.
    pub fn check(&self) -> Result<(), LoadError> {
        if self.rate.per.is_zero() {
            return Err(LoadError::RatePeriod);
        }
        if self.in_flight_max == 0 {
            return Err(LoadError::InFlight);
        }
        match self.kind {
            LoadKind::SynFlood => {}
            LoadKind::Tick | LoadKind::Ping => {
                if !(tick::HEADER_BYTES as u64..=tick::TICK_BYTES_MAX as u64).contains(&self.size) {
                    return Err(LoadError::Size);
                }
            }
            LoadKind::Request | LoadKind::KeepAlive => {
                if self.size > exchange::ANSWER_BYTES_MAX {
                    return Err(LoadError::Size);
                }
                if !(exchange::HEADER_BYTES as u32..=exchange::REQUEST_BYTES_MAX)
                    .contains(&self.request_size)
                {
                    return Err(LoadError::RequestSize);
                }
            }
            LoadKind::Download { .. }
            | LoadKind::Upload { .. }
            | LoadKind::Idle { .. }
            | LoadKind::HalfClosed { .. } => {
                let header = self.kind.long_flow(self.size);
                let header = header.expect("these kinds are long flows");
                return match long_flow::Header::parse(&header.encode()) {
                    Ok(_) => Ok(()),
                    Err(long_flow::ParseError::Length) => Err(LoadError::Size),
                    Err(_) => Err(LoadError::Measure),
                };
            }
        }
        Ok(())
    }
}
