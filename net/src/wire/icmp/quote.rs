//! Changing the packet that an error quotes: NAT must translate it too, or its sender does not know it as its own.
//!
//! The quote is a packet cut short, with a checksum of its own that covers the changed address, all of it inside a
//! message with a checksum over the quote. Each changed word repairs the message's checksum, so one that arrived
//! wrong stays wrong and the end host judges. Reference: RFC 5508 §4.2, RFC 1624.

use super::{CHECKSUM_AT, HEADER_LEN, quoted, quoted_parts};
use crate::checksum;
use crate::flow::{Address, Family};
use crate::wire::{Parsed, tcp, udp};

const V4_CHECKSUM_AT: usize = 10;

/// Replaces source address and port of the packet that an error quotes; `false`, and nothing changed, if this is
/// no error, or its quote is cut before the ports, is no TCP or UDP, or is of another family than `address`.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
pub fn set_quoted_source(bytes: &mut [u8], parsed: &Parsed, address: Address, port: u16) -> bool {
    set_quoted_end(bytes, parsed, [12, 8, 0], address, port)
}

/// Replaces destination address and port of the packet that an error quotes; `false` as for the source.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
pub fn set_quoted_destination(
    bytes: &mut [u8],
    parsed: &Parsed,
    address: Address,
    port: u16,
) -> bool {
    set_quoted_end(bytes, parsed, [16, 24, 2], address, port)
}

/// Replaces the sequence number of the TCP segment that an error quotes by what `number` makes of it; nothing changes
/// if this is no error, or quotes no TCP as far as that.
///
/// # Panics
/// If `bytes` is shorter than the packet parsed.
pub fn map_quoted_sequence(bytes: &mut [u8], parsed: &Parsed, number: impl FnOnce(u32) -> u32) {
    let Some(quote) = quoted(bytes, parsed) else {
        return;
    };
    let len = quote.len();
    let Some(outline) = Outline::of(quote).filter(|outline| !outline.is_udp) else {
        return;
    };
    let at = outline.l4_at + 4;
    if at + 4 > len {
        return;
    }
    let mut message = Message(parsed.l4_mut(bytes));
    let old = [message.word(at), message.word(at + 2)];
    let new = number(u32::from(old[0]) << 16 | u32::from(old[1]));
    let new = [(new >> 16) as u16, new as u16];
    for (place, (old, new)) in (at..).step_by(2).zip(old.into_iter().zip(new)) {
        message.set_word(place, new);
        message.repair_transport(&outline, old, new);
    }
}

/// `[v4_at, v6_at, port_at]`: where the end's address and port stand in their headers.
fn set_quoted_end(
    bytes: &mut [u8],
    parsed: &Parsed,
    [v4_at, v6_at, port_at]: [usize; 3],
    address: Address,
    port: u16,
) -> bool {
    let Some(outline) = quoted(bytes, parsed).and_then(Outline::of) else {
        return false;
    };
    if outline.is_v4 != address.v4_octets().is_some() {
        return false;
    }
    let address_at = if outline.is_v4 { v4_at } else { v6_at };
    let mut message = Message(parsed.l4_mut(bytes));
    for (at, word) in (address_at..)
        .step_by(2)
        .zip(address.octets().chunks_exact(2))
    {
        let word = u16::from_be_bytes([word[0], word[1]]);
        let old = message.word(at);
        message.set_word(at, word);
        if outline.is_v4 {
            let check = checksum::update16(message.word(V4_CHECKSUM_AT), old, word);
            message.set_word(V4_CHECKSUM_AT, check);
        }
        message.repair_transport(&outline, old, word);
    }
    let at = outline.l4_at + port_at;
    let old = message.word(at);
    message.set_word(at, port);
    message.repair_transport(&outline, old, port);
    true
}

/// What a quote consists of; offsets are from its start.
struct Outline {
    is_v4: bool,
    l4_at: usize,
    /// The transport checksum, if the quote reaches that far.
    check_at: Option<usize>,
    is_udp: bool,
}

impl Outline {
    fn of(quote: &[u8]) -> Option<Outline> {
        let (src, _, protocol, l4) = quoted_parts(quote)?;
        let check = match protocol {
            tcp::PROTOCOL => tcp::CHECKSUM_AT,
            udp::PROTOCOL => udp::CHECKSUM_AT,
            _ => return None,
        };
        l4.first_chunk::<4>()?;
        let l4_at = quote.len() - l4.len();
        Some(Outline {
            is_v4: src.family() == Family::V4,
            l4_at,
            check_at: (check + 2 <= l4.len()).then_some(l4_at + check),
            is_udp: protocol == udp::PROTOCOL,
        })
    }
}

/// An error's message; offsets are from the start of its quote and even.
struct Message<'a>(&'a mut [u8]);

impl Message<'_> {
    fn word(&self, at: usize) -> u16 {
        self.word_of_message(HEADER_LEN + at)
    }

    fn word_of_message(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.0[at], self.0[at + 1]])
    }

    /// Writes a word of the quote and repairs the checksum of the message.
    fn set_word(&mut self, at: usize, word: u16) {
        let check = checksum::update16(self.word_of_message(CHECKSUM_AT), self.word(at), word);
        let at = HEADER_LEN + at;
        self.0[at..at + 2].copy_from_slice(&word.to_be_bytes());
        self.0[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
    }

    /// Repairs the quoted transport checksum after a word that it covers changed.
    fn repair_transport(&mut self, outline: &Outline, old: u16, new: u16) {
        let Some(at) = outline.check_at else {
            return;
        };
        let check = match (outline.is_udp, self.word(at)) {
            (true, 0) => return, // none (RFC 768)
            (_, stored) => checksum::update16(stored, old, new),
        };
        let check = if outline.is_udp && check == 0 {
            0xffff
        } else {
            check
        };
        self.set_word(at, check);
    }
}
