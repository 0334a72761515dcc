//! Expected numbers: which sequence number each side of a TCP flow waits for, as far as a node saw.
//!
//! A RST is taken at once only with exactly the number that its receiver expects (RFC 5961 §3.2). That is the one
//! behind the last that the other side sent, or that the receiver itself acknowledged, whichever is further: numbers
//! go forward only. Where packets were lost behind this node the receiver expects an earlier one; it then asks
//! with an ACK, which says the number, and which a node that no longer knows the flow answers by it.

use anyedge_net::wire::tcp::Numbers;

use crate::tcp_state::Side;

/// What both sides of a flow wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Expected {
    by_client: u32,
    by_target: u32,
    client_known: bool,
    target_known: bool,
}

impl Expected {
    /// Takes a segment of `side` into account that goes on to the other.
    #[inline]
    pub(crate) fn on_segment(&mut self, side: Side, numbers: &Numbers) {
        self.forward(other(side), numbers.end);
        self.on_word(side, numbers);
    }

    /// Takes a segment of `side` into account that does not go on: the other side expects it still.
    pub(crate) fn on_withheld(&mut self, side: Side, numbers: &Numbers) {
        if self.by(other(side)).is_none() {
            self.forward(other(side), numbers.sequence);
        }
        self.on_word(side, numbers);
    }

    /// What `side` waits for; `None`: no segment told.
    pub(crate) const fn by(&self, side: Side) -> Option<u32> {
        match side {
            Side::Client if self.client_known => Some(self.by_client),
            Side::Target if self.target_known => Some(self.by_target),
            Side::Client | Side::Target => None,
        }
    }

    #[inline]
    fn on_word(&mut self, side: Side, numbers: &Numbers) {
        if let Some(acknowledged) = numbers.acknowledged {
            self.forward(side, acknowledged);
        }
    }

    #[inline]
    fn forward(&mut self, side: Side, number: u32) {
        let (held, known) = match side {
            Side::Client => (&mut self.by_client, &mut self.client_known),
            Side::Target => (&mut self.by_target, &mut self.target_known),
        };
        if !*known || (number.wrapping_sub(*held) as i32) > 0 {
            (*held, *known) = (number, true);
        }
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Target,
        Side::Target => Side::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u32, end: u32, acknowledged: Option<u32>) -> Numbers {
        Numbers {
            sequence,
            end,
            acknowledged,
        }
    }

    #[test]
    fn both_sides_expect_what_is_behind_the_furthest_segment_seen() {
        let mut expected = Expected::default();
        expected.on_segment(Side::Client, &segment(100, 101, None));
        assert_eq!(expected.by(Side::Client), None);
        assert_eq!(expected.by(Side::Target), Some(101));
        expected.on_segment(
            Side::Target,
            &segment(u32::MAX - 9, u32::MAX - 8, Some(101)),
        );
        expected.on_segment(Side::Target, &segment(u32::MAX - 8, 40, Some(101)));
        assert_eq!(
            expected.by(Side::Client),
            Some(40),
            "round the end of the numbers"
        );
        expected.on_segment(Side::Target, &segment(u32::MAX - 8, 7, Some(101)));
        assert_eq!(expected.by(Side::Client), Some(40), "sent again");
    }

    #[test]
    fn an_acknowledgement_tells_what_no_segment_did() {
        let mut expected = Expected::default();
        expected.on_withheld(Side::Client, &segment(500, 600, Some(9_000)));
        assert_eq!(expected.by(Side::Client), Some(9_000));
        assert_eq!(
            expected.by(Side::Target),
            Some(500),
            "the data did not go on"
        );
    }
}
