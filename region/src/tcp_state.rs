//! TCP as a forwarder in the middle sees it: where a connection stands, and for how long it may be silent.
//!
//! Sequence numbers are not tracked: the end hosts judge segments, this machine decides only how long an
//! entry lives and whether a SYN may take its place. It follows what both sides have sent:
//!
//! ```text
//!            SYN+ACK of target          ACK of client               FIN          FIN of the other
//!  SynSent ------------------> SynReceived ---------> Established ------> *Closed ------------> Closing
//!     any of them but Closing: RST of either side ----------------------------> Reset
//! ```
//! References: RFC 9293 §3.3.2 (states), RFC 5382 §5 (REQ-5, timeouts of middleboxes), RFC 5961 §4 (a SYN on
//! a connection in being is for its end host to answer).

use core::time::Duration;

use anyedge_net::wire::tcp;

/// Silence allowed to a handshake. Shorter than the 4 minutes of RFC 5382 REQ-5, which keep a translated port
/// from reuse: none is held here. Retransmitted SYNs come at most 16 s apart up to the fifth (RFC 6298).
pub const HALF_OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence allowed to an established connection: the product's idle timeout.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(900);
/// Silence allowed once one side has closed: RFC 5382 REQ-5, transitory idle timeout, 4 minutes at least.
pub const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(240);
/// Silence allowed once both sides have closed: retransmitted FINs and last data still find their way.
/// Shorter than REQ-5's 4 minutes, which keep a translated port from reuse: none is held here.
pub const CLOSING_TIMEOUT: Duration = Duration::from_secs(10);
/// Time from the first RST to the entry's end, whatever else passes. The other side's packets that were under
/// way still find the host that answers them.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpState {
    /// The client's SYN passed.
    SynSent,
    /// The target's SYN+ACK passed.
    SynReceived,
    /// The client's ACK of it passed.
    Established,
    /// The client has closed its side.
    ClientClosed,
    /// The target has closed its side.
    TargetClosed,
    /// Both sides have closed.
    Closing,
    /// One side has reset it.
    Reset,
}

/// Who sent a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The client, towards the target.
    Client,
    /// The target, towards the client.
    Target,
}

/// What a segment means for the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// SYN alone (ECN bits aside): opens.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// ACK, with or without data.
    Ack,
    /// FIN.
    Fin,
    /// RST.
    Rst,
    /// Flags that no sound sender combines so.
    Other,
}

impl Segment {
    /// What the flags byte of a TCP header means.
    #[inline]
    pub const fn of(flags: u8) -> Segment {
        const KINDS: u8 = tcp::SYN | tcp::ACK | tcp::FIN | tcp::RST;
        const SYN_ACK: u8 = tcp::SYN | tcp::ACK;
        const FIN_ACK: u8 = tcp::FIN | tcp::ACK;
        match flags & KINDS {
            tcp::SYN => Segment::Syn,
            SYN_ACK => Segment::SynAck,
            tcp::ACK => Segment::Ack,
            tcp::FIN | FIN_ACK => Segment::Fin,
            kinds if kinds & tcp::RST != 0 => Segment::Rst,
            _ => Segment::Other,
        }
    }
}

impl TcpState {
    /// The state after `side` sent `segment`.
    #[inline]
    pub const fn after(self, side: Side, segment: Segment) -> TcpState {
        use Segment::{Ack, Fin, Other, Rst, Syn, SynAck};
        use Side::{Client, Target};
        use TcpState::{
            ClientClosed, Closing, Established, Reset, SynReceived, SynSent, TargetClosed,
        };
        match (self, side, segment) {
            (Closing, _, _) => Closing,
            (Reset, _, _) | (_, _, Rst) => Reset,

            (SynSent, Target, SynAck) => SynReceived,
            (SynSent, Target, Syn | Ack | Fin | Other) => SynSent,
            (SynSent, Client, Syn | SynAck | Ack | Fin | Other) => SynSent,

            (SynReceived, Client, Ack) => Established,
            (SynReceived, Client, Fin) => ClientClosed,
            (SynReceived, Client, Syn | SynAck | Other) => SynReceived,
            (SynReceived, Target, Syn | SynAck | Ack | Fin | Other) => SynReceived,

            (Established, Client, Fin) => ClientClosed,
            (Established, Target, Fin) => TargetClosed,
            (Established, _, Syn | SynAck | Ack | Other) => Established,

            (ClientClosed, Target, Fin) | (TargetClosed, Client, Fin) => Closing,
            (ClientClosed, _, _) => ClientClosed,
            (TargetClosed, _, _) => TargetClosed,
        }
    }

    /// The later of two views of one connection, each of which may have missed packets.
    pub const fn later_of(self, other: TcpState) -> TcpState {
        use TcpState::{
            ClientClosed, Closing, Established, Reset, SynReceived, SynSent, TargetClosed,
        };
        match (self, other) {
            (Closing, _) | (_, Closing) => Closing,
            (Reset, _) | (_, Reset) => Reset,
            (ClientClosed, TargetClosed) | (TargetClosed, ClientClosed) => Closing,
            (ClientClosed, _) | (_, ClientClosed) => ClientClosed,
            (TargetClosed, _) | (_, TargetClosed) => TargetClosed,
            (Established, _) | (_, Established) => Established,
            (SynReceived, _) | (_, SynReceived) => SynReceived,
            (SynSent, SynSent) => SynSent,
        }
    }

    /// Whether the handshake has not completed.
    #[inline]
    pub const fn is_half_open(self) -> bool {
        matches!(self, TcpState::SynSent | TcpState::SynReceived)
    }

    /// Whether a SYN with another initial sequence number starts a new connection in the place of this one.
    /// Otherwise it is the target's to answer (RFC 5961 §4: with a challenge ACK).
    #[inline]
    pub const fn yields_to_fresh_syn(self) -> bool {
        match self {
            TcpState::SynSent | TcpState::SynReceived | TcpState::Closing | TcpState::Reset => true,
            TcpState::Established | TcpState::ClientClosed | TcpState::TargetClosed => false,
        }
    }

    /// How long it may be silent.
    #[inline]
    pub const fn timeout(self) -> Duration {
        match self {
            TcpState::SynSent | TcpState::SynReceived => HALF_OPEN_TIMEOUT,
            TcpState::Established => IDLE_TIMEOUT,
            TcpState::ClientClosed | TcpState::TargetClosed => HALF_CLOSED_TIMEOUT,
            TcpState::Closing => CLOSING_TIMEOUT,
            TcpState::Reset => RESET_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Segment::{Ack, Fin, Rst, Syn, SynAck};
    use Side::{Client, Target};
    use TcpState::{ClientClosed, Closing, Established, Reset, SynReceived, SynSent, TargetClosed};

    fn run(segments: &[(Side, Segment)]) -> TcpState {
        segments.iter().fold(SynSent, |state, (side, segment)| {
            state.after(*side, *segment)
        })
    }

    const HANDSHAKE: [(Side, Segment); 3] = [(Client, Syn), (Target, SynAck), (Client, Ack)];

    #[test]
    fn a_handshake_takes_both_sides() {
        assert_eq!(run(&HANDSHAKE[..2]), SynReceived);
        assert_eq!(run(&HANDSHAKE), Established);
        assert_eq!(
            run(&[(Client, Ack), (Client, Ack)]),
            SynSent,
            "an ACK that answers nothing"
        );
    }

    #[test]
    fn either_side_may_close_first() {
        let closed = |first, second| {
            let half = Established.after(first, Fin);
            (half, half.after(first, Fin), half.after(second, Fin))
        };
        assert_eq!(
            closed(Client, Target),
            (ClientClosed, ClientClosed, Closing)
        );
        assert_eq!(
            closed(Target, Client),
            (TargetClosed, TargetClosed, Closing)
        );
        assert_eq!(SynReceived.after(Client, Fin), ClientClosed);
    }

    #[test]
    fn a_reset_ends_every_state_but_one_that_both_sides_closed() {
        for state in [
            SynSent,
            SynReceived,
            Established,
            ClientClosed,
            TargetClosed,
            Reset,
        ] {
            for side in [Client, Target] {
                assert_eq!(state.after(side, Rst), Reset);
            }
        }
        assert_eq!(Closing.after(Client, Rst), Closing);
        assert_eq!(
            Reset.after(Client, Ack),
            Reset,
            "packets under way do not revive it"
        );
    }

    #[test]
    fn two_views_of_a_connection_give_the_later_one() {
        let order = [
            SynSent,
            SynReceived,
            Established,
            ClientClosed,
            Reset,
            Closing,
        ];
        for (at, early) in order.into_iter().enumerate() {
            for late in &order[at..] {
                assert_eq!(
                    (early.later_of(*late), late.later_of(early)),
                    (*late, *late)
                );
            }
        }
        assert_eq!(ClientClosed.later_of(TargetClosed), Closing);
        assert_eq!(TargetClosed.later_of(Established), TargetClosed);
    }

    #[test]
    fn flags_mean_what_rfc_9293_says() {
        use anyedge_net::wire::tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
        assert_eq!(Segment::of(SYN | ECE | CWR), Syn);
        assert_eq!(Segment::of(SYN | ACK | ECE), SynAck);
        assert_eq!(Segment::of(ACK | PSH | URG), Ack);
        assert_eq!(Segment::of(FIN | ACK | PSH), Fin);
        assert_eq!(Segment::of(RST | ACK), Rst);
        assert_eq!(Segment::of(RST | SYN), Rst);
        for odd in [0, SYN | FIN, SYN | FIN | ACK, PSH] {
            assert_eq!(Segment::of(odd), Segment::Other, "{odd:08b}");
        }
    }
}
