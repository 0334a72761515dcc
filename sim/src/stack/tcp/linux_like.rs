//! A TCP that does as Linux does, of our own: what simulated hosts speak when they are to behave as servers and clients do.
//!
//! Ten segments at first (RFC 6928), Reno (RFC 5681), SACK both ways (RFC 2018, RFC 2883), losses found by time and repaired in
//! proportion (RACK-TLP, RFC 8985; PRR, RFC 9937), timeouts from 200 ms on (RFC 6298), acknowledgements of every second
//! segment or after 40 ms, resets and SYNs in a window challenged (RFC 5961). Not there: timestamps, ECN, Fast Open, Nagle.
//!
//! A [`Connection`] is sans-IO: [`receive`](Connection::receive) takes segments in and only notes what they lead to,
//! [`transmit`](Connection::transmit) sends all that may be sent. Reference for the states: RFC 9293 §3.3.2, §3.10.

mod arriving;
mod congestion;
mod leaving;
mod outstanding;
mod reassembly;
mod ring;
mod round_trip;
mod segment;
mod sequence;

use std::time::Duration;

use anyedge_net::flow::Address;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::header_len;
use anyedge_net::wire::tcp::HEADER_LEN;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::memory::Memory;
use super::{Phase, TcpBuffers};
use crate::stack::tuple::Tuple;

use congestion::Congestion;
use outstanding::Outstanding;
use reassembly::Reassembly;
use ring::Ring;
use round_trip::RoundTrip;
use sequence::Seq;

/// Payload of the segments to an other end that tells no MSS (RFC 9293 §3.7.1), v4 and v6.
const MSS_UNTOLD: [u32; 2] = [536, 1_220];
/// The least payload that a path's MTU leaves: IPv4's least MTU has room for it.
const MSS_MIN: u32 = 8;
/// How long an acknowledgement may wait for company (Linux `TCP_DELACK_MIN`).
const DELAYED_ACK: Duration = Duration::from_millis(40);
/// A tick of the clock that initial sequence numbers follow (RFC 6528 §3), in nanoseconds.
const SEQUENCE_TICK: u64 = 4_000;

/// What all connections of a host share.
pub(in crate::stack) struct Engine {
    mtu: usize,
    seed: u64,
    buffers: TcpBuffers,
    /// Segments that were not sent because the pool had no slot.
    pub(super) unsent: u64,
}

/// RFC 9293 §3.3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed,
    Listen,
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

/// What is waited for, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Nothing,
    /// An acknowledgement: then all is lost.
    Resend(Instant),
    /// An acknowledgement: then the last segment is sent once more (RFC 8985 §7).
    ProbeTail(Instant),
    /// A segment that is late: then it is lost (RFC 8985 §6.3).
    Late(Instant),
    /// Room at the other end: then it is asked (RFC 9293 §3.8.6.1).
    Room(Instant),
}

/// When what came is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reply {
    Nothing,
    By(Instant),
    Now,
}

/// A RST that is to be sent: at this number, with or without an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Reset {
    seq: Seq,
    acknowledges: bool,
}

/// A probe of the tail is under way.
#[derive(Clone, Copy, Debug)]
struct TailProbe {
    /// What is acknowledged when it is over.
    until: Seq,
    /// It was a segment of before.
    again: bool,
}

/// One connection, and its buffers, which are kept when it is used again.
pub(in crate::stack) struct Connection {
    state: State,
    reset: Option<Reset>,
    local: Address,
    remote: Address,
    ports: (u16, u16),
    /// What the pseudo-header adds to every checksum.
    addresses: u16,
    /// Payload that fits into our interface, which we announce.
    mss_announced: u32,

    /// What was written, from `base` on.
    send: Ring,
    /// Our SYN's number.
    first: Seq,
    /// The first number that is not acknowledged (SND.UNA).
    una: Seq,
    /// The number of the first byte in `send`.
    base: Seq,
    /// The number behind all that was sent (SND.NXT).
    next: Seq,
    /// Our FIN follows what was written.
    shut: bool,
    /// Bytes behind `una` that the other end takes (SND.WND), as of the segment at SND.WL1 and SND.WL2.
    window: u32,
    window_max: u32,
    window_by: (Seq, Seq),
    their_scale: u8,
    their_mss: u32,
    /// Payload of the segments that we send: what the other end and the path take.
    mss: u32,
    /// The other end tells what it has beyond gaps.
    sack: bool,
    outstanding: Outstanding,
    congestion: Congestion,
    trip: RoundTrip,
    wait: Wait,
    /// The wait begins anew with the next pass.
    rearm: bool,
    late: Option<Instant>,
    tail_probe: Option<TailProbe>,
    /// Acknowledgements that said nothing, from an other end without SACK.
    same_acks: u8,
    /// More would have been sent but for the congestion window.
    limited: bool,
    sent_at: Instant,
    /// How often our SYN was not answered in time.
    syns_lost: u8,

    /// What came in order and is not read.
    receive: Ring,
    /// The number that comes next (RCV.NXT).
    expected: Seq,
    /// The number behind the window that we announced.
    edge: Seq,
    our_scale: u8,
    reassembly: Reassembly,
    /// Where their FIN stands, as soon as it was seen.
    fin_at: Option<Seq>,
    /// It came, and all before it.
    finished: bool,
    reply: Reply,
    /// What was acknowledged last.
    told: Seq,
    /// When a segment outside of the window is answered again.
    corrects_at: Instant,
    /// The largest payload that came.
    payload_max: u32,

    memory: Memory,
}

impl Engine {
    pub(super) const fn new(mtu: usize, seed: u64, buffers: TcpBuffers) -> Engine {
        Engine {
            mtu,
            seed,
            buffers,
            unsent: 0,
        }
    }

    /// Where a connection begins to count: by the clock, so that one of the same ends begins behind the one before it, and by a
    /// secret of the host (RFC 6528 §3).
    fn first_sequence(&self, tuple: &Tuple, now: Instant) -> Seq {
        let mut ends = [0; 36];
        ends[..tuple.local.octets().len()].copy_from_slice(tuple.local.octets());
        ends[16..16 + tuple.remote.octets().len()].copy_from_slice(tuple.remote.octets());
        ends[32..34].copy_from_slice(&tuple.local_port.to_be_bytes());
        ends[34..].copy_from_slice(&tuple.remote_port.to_be_bytes());
        let ticks = (now.as_nanos() / SEQUENCE_TICK) as u32;
        Seq(ticks) + xxh3_64_with_seed(&ends, self.seed) as u32
    }
}

impl Connection {
    pub(super) fn new(engine: &Engine) -> Connection {
        let TcpBuffers { receive, send } = engine.buffers;
        let nobody = Address::v4([0; 4]);
        Connection {
            state: State::Closed,
            reset: None,
            local: nobody,
            remote: nobody,
            ports: (0, 0),
            addresses: 0,
            mss_announced: 0,
            send: Ring::new(receive, send),
            first: Seq(0),
            una: Seq(0),
            base: Seq(0),
            next: Seq(0),
            shut: false,
            window: 0,
            window_max: 0,
            window_by: (Seq(0), Seq(0)),
            their_scale: 0,
            their_mss: 0,
            mss: 0,
            sack: false,
            outstanding: Outstanding::default(),
            congestion: Congestion::new(0, false),
            trip: RoundTrip::default(),
            wait: Wait::Nothing,
            rearm: false,
            late: None,
            tail_probe: None,
            same_acks: 0,
            limited: false,
            sent_at: Instant::ZERO,
            syns_lost: 0,
            receive: Ring::new(0, receive),
            expected: Seq(0),
            edge: Seq(0),
            our_scale: 0,
            reassembly: Reassembly::default(),
            fin_at: None,
            finished: false,
            reply: Reply::Nothing,
            told: Seq(0),
            corrects_at: Instant::ZERO,
            payload_max: MSS_UNTOLD[0],
            memory: Memory::zeroed(receive + send),
        }
    }

    /// Starts a connection; the SYN leaves with the next pass.
    pub(super) fn connect(&mut self, tuple: &Tuple, engine: &Engine, now: Instant) {
        self.begin(State::SynSent, tuple, engine, now);
    }

    /// Waits for the SYN that is handed in next.
    pub(super) fn listen(&mut self, tuple: &Tuple, engine: &Engine, now: Instant) {
        self.begin(State::Listen, tuple, engine, now);
    }

    fn begin(&mut self, state: State, tuple: &Tuple, engine: &Engine, now: Instant) {
        self.state = state;
        self.reset = None;
        (self.local, self.remote) = (tuple.local, tuple.remote);
        self.ports = (tuple.local_port, tuple.remote_port);
        self.addresses = segment::sum_of_addresses(tuple.local, tuple.remote);
        self.mss_announced = mss_of(engine.mtu, tuple.local);
        self.first = engine.first_sequence(tuple, now);
        (self.una, self.next) = (self.first, self.first);
        self.base = self.first + 1;
        self.send.clear();
        self.shut = false;
        (self.window, self.window_max) = (0, 0);
        (self.their_scale, self.sack) = (0, false);
        (self.their_mss, self.mss) = (self.mss_announced, self.mss_announced);
        self.outstanding.clear();
        self.congestion = Congestion::new(self.mss, false);
        self.trip = RoundTrip::default();
        (self.wait, self.rearm, self.late) = (Wait::Nothing, false, None);
        (self.tail_probe, self.same_acks) = (None, 0);
        (self.limited, self.sent_at, self.syns_lost) = (false, now, 0);
        self.receive.clear();
        self.our_scale = scale_of(self.receive.capacity());
        self.reassembly.clear();
        (self.fin_at, self.finished) = (None, false);
        (self.expected, self.edge, self.told) = (Seq(0), Seq(0), Seq(0));
        (self.reply, self.corrects_at) = (Reply::Nothing, Instant::ZERO);
        self.payload_max = MSS_UNTOLD[0];
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::SynSent => Phase::Opening,
            State::SynReceived => Phase::Accepting,
            State::Established | State::CloseWait => Phase::Open,
            State::FinWait1 | State::Closing | State::LastAck => Phase::Closing,
            State::FinWait2 => Phase::HalfClosed,
            State::TimeWait => Phase::TimeWait,
            State::Closed | State::Listen => Phase::Closed,
        }
    }

    /// Whether nothing will ever be sent again, a RST included.
    pub(super) const fn is_silent(&self) -> bool {
        matches!(self.state, State::Closed) && self.reset.is_none()
    }

    /// Written and not acknowledged.
    pub(super) const fn has_unacknowledged(&self) -> bool {
        self.send.len() > 0
    }

    /// Whether the other end may still send, or has sent what is not read.
    pub(super) const fn may_receive(&self) -> bool {
        self.takes_data() || self.receive.len() > 0
    }

    /// Whether the other end may still send.
    const fn takes_data(&self) -> bool {
        matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        )
    }

    pub(super) const fn may_send(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait)
    }

    /// Room for what is written, and how much there is in all.
    pub(super) const fn room(&self) -> (usize, usize) {
        (self.send.room(), self.send.capacity())
    }

    /// Received bytes that nobody has read.
    pub(super) const fn unread(&self) -> usize {
        self.receive.len()
    }

    /// Moves received bytes out.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.receive.len());
        self.receive.peek(&self.memory, 0, &mut into[..count]);
        self.receive.pop(count);
        if self.reassembly.is_empty() {
            self.receive.rewind();
        }
        // The other end is told of room when there is twice of what it knows (Linux `tcp_cleanup_rbuf`).
        let (known, room) = (self.expected.until(self.edge), self.receive.room());
        if self.takes_data() && room >= 2 * known as usize {
            self.reply = Reply::Now;
        }
        count
    }

    /// Moves bytes in, as many as there is room for; `None` when our direction is closed.
    pub(super) fn write(&mut self, data: &[u8]) -> Option<usize> {
        self.may_send()
            .then(|| self.send.push(&mut self.memory, data))
    }

    /// Whether the other end's FIN has come, and all before it is read.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished && self.receive.len() == 0
    }

    /// Sends FIN behind what was written.
    pub(super) const fn close(&mut self) {
        self.state = match self.state {
            State::SynReceived | State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            State::SynSent | State::Listen => State::Closed,
            closed => closed,
        };
        self.shut = true;
    }

    /// Sends RST with the next pass and forgets the rest.
    pub(super) const fn abort(&mut self) {
        if !matches!(
            self.state,
            State::Closed | State::Listen | State::SynSent | State::TimeWait
        ) {
            self.reset = Some(Reset {
                seq: self.next,
                acknowledges: true,
            });
        }
        self.state = State::Closed;
    }

    /// Payload of the segments through a path of that MTU.
    fn set_path(&mut self, mtu: usize) {
        let mss = self.their_mss.min(mss_of(mtu, self.local));
        if mss == self.mss {
            return;
        }
        if mss < self.mss {
            self.outstanding.lose_longer(mss);
        }
        self.mss = mss;
        self.congestion.set_segment(mss);
    }

    /// The number of our FIN, or of the byte that is written next.
    fn end(&self) -> Seq {
        self.base + self.send.len() as u32
    }

    /// Whether our FIN is acknowledged.
    fn is_fin_acknowledged(&self) -> bool {
        self.shut && self.una == self.end() + 1
    }
}

/// Payload of a segment without options through an MTU.
fn mss_of(mtu: usize, address: Address) -> u32 {
    let headers = header_len(address.family()) + HEADER_LEN;
    (mtu.saturating_sub(headers).min(usize::from(u16::MAX)) as u32).max(MSS_MIN)
}

/// The least scale by which a window of so many bytes can be told of (RFC 7323 §2.2).
const fn scale_of(capacity: usize) -> u8 {
    let mut scale = 0;
    while scale < 14 && capacity >> scale > u16::MAX as usize {
        scale += 1;
    }
    scale
}
