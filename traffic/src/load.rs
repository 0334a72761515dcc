//! A load: what a population of client hosts sends, where to, how often and for how long.
//!
//! The rate belongs to the population. Each of its hosts sends its [`Share`], on a stream of arrivals of
//! its own, and all of them together make the rate: exactly so for fixed arrivals, on average for Poisson.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use anyedge_net::time::Instant;

use crate::{exchange, tick};

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
    /// Bytes of an answer. A tick is echoed, so its datagram has this size too.
    pub size: u64,
    /// Bytes of a request with its header; a tick does not look at it.
    pub request_size: u32,
    /// Where to: a VIP and port, or a backend.
    pub to: SocketAddr,
    /// What is not answered this long after its intended time has failed, whether or not its turn came.
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
    /// A UDP [`tick`].
    Tick,
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
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::RatePeriod => write!(f, "a rate is per a time longer than zero"),
            LoadError::Size => write!(
                f,
                "an answer has at most {} bytes, a tick {} to {}",
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
            LoadKind::Tick => {
                if !(tick::HEADER_BYTES as u64..=tick::TICK_BYTES_MAX as u64).contains(&self.size) {
                    return Err(LoadError::Size);
                }
            }
            LoadKind::Request => {
                if self.size > exchange::ANSWER_BYTES_MAX {
                    return Err(LoadError::Size);
                }
                if !(exchange::HEADER_BYTES as u32..=exchange::REQUEST_BYTES_MAX)
                    .contains(&self.request_size)
                {
                    return Err(LoadError::RequestSize);
                }
            }
        }
        Ok(())
    }
}
