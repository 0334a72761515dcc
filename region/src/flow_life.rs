//! A flow's life: TCP with its states, UDP with one timer, and the deadline that follows.
//!
//! Connection table and vSwitch see the same packets and forget a flow by the same rules, which stand here.
//!
//! Invariant: a deadline only moves later by a packet, except where a TCP transition shortens the timeout.
//! References: RFC 4787 REQ-5 (UDP: 2 minutes at least) and REQ-6 (either direction refreshes).

use core::time::Duration;

use anyedge_net::event::FlowEnd;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::{Parsed, tcp};

use crate::tcp_state::{Segment, Side, TcpState};

/// Silence allowed to a UDP flow (RFC 4787 REQ-5).
pub const UDP_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a flow stands, and when a packet of it was last seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FlowLife {
    state: State,
    /// Seconds that it may be silent when it is established; 0: as long as any.
    idle_s: u16,
    /// The client's initial sequence number; tells a SYN sent again from a fresh one.
    isn: u32,
    last_seen: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Udp,
    Tcp(TcpState),
}

/// What a packet did to a flow's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Step {
    /// The handshake completed.
    pub(crate) established: bool,
    /// The flow is no longer half-open.
    pub(crate) handshake_over: bool,
    /// The deadline came nearer.
    pub(crate) shortened: bool,
    /// The flow stands elsewhere than before.
    pub(crate) changed: bool,
    /// It came to its end by this packet and only lingers.
    pub(crate) over: bool,
}

impl FlowLife {
    /// Begins with a packet of the client. Only a SYN begins a handshake; another segment means that the
    /// connection is older than this node's memory.
    pub(crate) fn begin(now: Instant, parsed: &Parsed, bytes: &[u8]) -> FlowLife {
        if parsed.flow.protocol != tcp::PROTOCOL {
            return FlowLife {
                state: State::Udp,
                idle_s: 0,
                isn: 0,
                last_seen: now,
            };
        }
        let (state, isn) = match Segment::of(parsed.tcp_flags) {
            Segment::Syn => (TcpState::SynSent, tcp::sequence(bytes, parsed)),
            Segment::Rst => (TcpState::Reset, 0),
            _ => (TcpState::Established, 0),
        };
        FlowLife {
            state: State::Tcp(state),
            idle_s: 0,
            isn,
            last_seen: now,
        }
    }

    /// The same of a flow that is forgotten when it was silent for `idle_s` seconds; 0: when any is.
    pub(crate) const fn with_idle(self, idle_s: u16) -> FlowLife {
        FlowLife { idle_s, ..self }
    }

    /// Takes a packet of `side` into account.
    #[inline(always)]
    pub(crate) fn on_packet(&mut self, now: Instant, side: Side, tcp_flags: u8) -> Step {
        let State::Tcp(before) = self.state else {
            self.last_seen = now;
            return Step::default();
        };
        let after = before.after(side, Segment::of(tcp_flags));
        if before != TcpState::Reset {
            self.last_seen = now;
        }
        if before == after {
            return Step::default();
        }
        self.state = State::Tcp(after);
        let handshake_over = before.is_half_open() && !after.is_half_open();
        let is_over = |state| matches!(state, TcpState::Closing | TcpState::Reset);
        Step {
            established: handshake_over && after != TcpState::Reset,
            handshake_over,
            shortened: self.timeout_in(after) < self.timeout_in(before),
            changed: true,
            over: is_over(after) && !is_over(before),
        }
    }

    /// A life that another node tells of: of TCP with where it stands, else of UDP.
    pub(crate) const fn told(now: Instant, tcp: Option<TcpState>, isn: u32) -> FlowLife {
        let state = match tcp {
            Some(state) => State::Tcp(state),
            None => State::Udp,
        };
        FlowLife {
            state,
            idle_s: 0,
            isn,
            last_seen: now,
        }
    }

    /// Takes in where another node saw the flow stand: forward only, since either may have seen more.
    pub(crate) fn on_word(&mut self, now: Instant, told: Option<TcpState>) -> Step {
        let (State::Tcp(before), Some(told)) = (self.state, told) else {
            self.last_seen = now;
            return Step::default();
        };
        let after = before.later_of(told);
        if before != TcpState::Reset {
            self.last_seen = now;
        }
        self.state = State::Tcp(after);
        Step {
            handshake_over: before.is_half_open() && !after.is_half_open(),
            shortened: self.timeout_in(after) < self.timeout_in(before),
            changed: after != before,
            ..Step::default()
        }
    }

    /// Where a TCP flow stands; `None` for UDP.
    #[inline]
    pub(crate) const fn tcp(&self) -> Option<TcpState> {
        match self.state {
            State::Tcp(state) => Some(state),
            State::Udp => None,
        }
    }

    /// The client's initial sequence number; 0 for UDP, or when the first packet was no SYN.
    pub(crate) const fn isn(&self) -> u32 {
        self.isn
    }

    /// How long the flow may be silent.
    #[inline]
    pub(crate) fn timeout(&self) -> Duration {
        match self.state {
            State::Udp => UDP_TIMEOUT,
            State::Tcp(state) => self.timeout_in(state),
        }
    }

    #[inline]
    fn timeout_in(&self, state: TcpState) -> Duration {
        let is_own = self.idle_s > 0 && state == TcpState::Established;
        if is_own && switch::is_on("P-LB07") {
            Duration::from_secs(self.idle_s.into())
        } else {
            state.timeout()
        }
    }

    /// Whether this packet of the client opens a connection in the place of this one.
    #[inline]
    pub(crate) fn is_replaced_by(&self, parsed: &Parsed, bytes: &[u8]) -> bool {
        match self.state {
            State::Udp => false,
            State::Tcp(state) => {
                opens_tcp(parsed)
                    && state.yields_to_fresh_syn()
                    && tcp::sequence(bytes, parsed) != self.isn
            }
        }
    }

    /// Whether the flow has come to its end and only lingers.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Tcp(TcpState::Closing | TcpState::Reset))
    }

    /// Whether its handshake has not completed.
    pub(crate) const fn is_half_open(&self) -> bool {
        matches!(self.state, State::Tcp(state) if state.is_half_open())
    }

    /// When the flow is forgotten if no packet comes: it lives before this instant, and no longer at it.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        self.last_seen + self.timeout()
    }

    /// How the flow ends if it ends by its deadline.
    pub(crate) const fn end(&self) -> FlowEnd {
        match self.state {
            State::Udp => FlowEnd::Finished,
            State::Tcp(state) => match state {
                TcpState::SynSent | TcpState::SynReceived => FlowEnd::HandshakeTimeout,
                TcpState::Established | TcpState::ClientClosed | TcpState::TargetClosed => {
                    FlowEnd::IdleTimeout
                }
                TcpState::Closing => FlowEnd::Finished,
                TcpState::Reset => FlowEnd::Reset,
            },
        }
    }
}

/// Whether a packet may open a flow: a SYN without more, or anything that is not TCP.
#[inline]
pub(crate) const fn opens(parsed: &Parsed) -> bool {
    parsed.flow.protocol != tcp::PROTOCOL || opens_tcp(parsed)
}

#[inline]
const fn opens_tcp(parsed: &Parsed) -> bool {
    matches!(Segment::of(parsed.tcp_flags), Segment::Syn)
}
