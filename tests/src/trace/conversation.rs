//! A flow from its first packet to its last, one turn at a time: handshake, data both ways, one of several ends.

use anyedge_net::flow::FlowKey;
use anyedge_net::wire::tcp;

use super::writer::Writer;

/// Flows that are talking at a time.
const TALKING: usize = 30;

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Target,
}

#[derive(Clone, Copy)]
struct Conversation {
    flow: FlowKey,
    turn: u64,
    data_turns: u64,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    ClientResets,
    TargetResets,
    Silence,
    /// The client begins anew from the same port.
    Again,
}

/// Flows in the middle of their talk.
#[derive(Default)]
pub(super) struct Conversations(Vec<Conversation>);

impl Conversations {
    /// The next packet of one of the flows: whose, and with which TCP flags.
    pub(super) fn next(&mut self, writer: &mut Writer<'_>) -> (FlowKey, Side, u8) {
        loop {
            if self.0.len() < TALKING && writer.below(4) == 0 || self.0.is_empty() {
                self.0.push(Conversation {
                    flow: writer.flow(),
                    turn: 0,
                    data_turns: 1 + writer.below(12),
                    end: writer.one_of(&[
                        End::Fin,
                        End::Fin,
                        End::ClientResets,
                        End::TargetResets,
                        End::Silence,
                        End::Again,
                    ]),
                });
            }
            let index = writer.below(self.0.len() as u64) as usize;
            let talk = &mut self.0[index];
            match talk.next(writer) {
                Some((side, flags)) => return (talk.flow, side, flags),
                None => {
                    self.0.swap_remove(index);
                }
            }
        }
    }
}

impl Conversation {
    fn next(&mut self, writer: &mut Writer<'_>) -> Option<(Side, u8)> {
        let turn = self.turn;
        self.turn += 1;
        if turn >= 3 && turn < 3 + self.data_turns || self.flow.protocol != tcp::PROTOCOL {
            let side = writer.one_of(&[Side::Client, Side::Target]);
            return (turn < 3 + self.data_turns).then_some((side, tcp::ACK | tcp::PSH));
        }
        let after = turn.saturating_sub(3 + self.data_turns);
        match (turn, self.end, after) {
            (0, ..) => Some((Side::Client, tcp::SYN)),
            (1, ..) => Some((Side::Target, tcp::SYN | tcp::ACK)),
            (2, ..) => Some((Side::Client, tcp::ACK)),
            (_, End::Fin, 0) => Some((Side::Client, tcp::FIN | tcp::ACK)),
            (_, End::Fin, 1) => Some((Side::Target, tcp::FIN | tcp::ACK)),
            (_, End::Fin, 2) => Some((Side::Client, tcp::ACK)),
            (_, End::ClientResets, 0) => Some((Side::Client, tcp::RST)),
            (_, End::TargetResets, 0) => Some((Side::Target, tcp::RST)),
            (_, End::Again, 0) => Some((Side::Client, tcp::SYN)),
            (_, End::Again, 1) => Some((Side::Target, tcp::SYN | tcp::ACK)),
            _ => None,
        }
    }
}
