//! ECN and DSCP over tunnels: what goes to the outer header, and what comes back.
//!
//! A router on the tunnel's path that marks congestion marks the outer header; the mark must reach the
//! receiver, and a packet whose sender cannot hear it must be dropped, which is the signal it understands.
//! DSCP follows the uniform model at entry and is discarded at exit. Reference: RFC 6040 §4.1 (normal mode)
//! and §4.2 (figure 4), RFC 2983 §3.1.

/// The two ECN bits of a TOS or traffic class byte.
pub const ECN_MASK: u8 = 0b11;

/// The sender does not take part in ECN.
pub const NOT_ECT: u8 = 0b00;

/// ECN-capable, codepoint 1 (L4S, RFC 9331).
pub const ECT_1: u8 = 0b01;

/// ECN-capable, codepoint 0.
pub const ECT_0: u8 = 0b10;

/// Congestion experienced.
pub const CE: u8 = 0b11;

/// Congestion was marked on a packet whose sender cannot hear the mark: it must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcnDrop;

/// The outer header's byte for an inner one: ECN copied (normal mode, RFC 6040 §4.1), DSCP copied.
#[inline]
pub const fn encapsulate(inner_tos: u8) -> u8 {
    inner_tos
}

/// The byte of the packet that leaves the tunnel (RFC 6040, figure 4); the inner DSCP is kept.
#[inline]
pub const fn decapsulate(inner_tos: u8, outer_tos: u8) -> Result<u8, EcnDrop> {
    let ecn = match (inner_tos & ECN_MASK, outer_tos & ECN_MASK) {
        (NOT_ECT, CE) => return Err(EcnDrop),
        (NOT_ECT, _) => NOT_ECT,
        (CE, _) | (_, CE) => CE,
        (_, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Ok(inner_tos & !ECN_MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decapsulation_is_figure_4_of_rfc_6040() {
        const DROP: u8 = u8::MAX;
        let outer = [NOT_ECT, ECT_0, ECT_1, CE];
        let figure = [
            (NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROP]),
            (ECT_0, [ECT_0, ECT_0, ECT_1, CE]),
            (ECT_1, [ECT_1, ECT_1, ECT_1, CE]),
            (CE, [CE, CE, CE, CE]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in outer.into_iter().zip(row) {
                let left = decapsulate(0b1011_1000 | inner, 0b0010_0000 | outer);
                let expected = (expected != DROP).then_some(0b1011_1000 | expected);
                assert_eq!(left.ok(), expected, "inner {inner:02b}, outer {outer:02b}");
            }
        }
    }

    #[test]
    fn a_packet_crosses_a_quiet_tunnel_unchanged() {
        for tos in 0..=u8::MAX {
            assert_eq!(decapsulate(tos, encapsulate(tos)), Ok(tos));
        }
    }
}
