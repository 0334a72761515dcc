//! A packet as the complete packets that it stands for, one after the other: for devices that know no offload.
//!
//! What is just itself and complete passes as it is; only what is not is copied, piece by piece, into the caller's
//! memory, with headers and checksums that the kernel would have made.

use anyedge_net::packet::{Offload, Packet};
use anyedge_net::wire::segments::Segments;

/// Calls `each` with every packet that `packet` stands for, complete, in order; `prefix_len` bytes in front of the IP
/// header (a tunnel's) go in front of each. Those that have to be made are made in `scratch`; without room there, or
/// when it is neither TCP nor UDP, the packet goes as it is. Returns how many there were.
pub fn each(
    packet: &Packet,
    prefix_len: usize,
    scratch: &mut [u8],
    mut each: impl FnMut(&[u8]),
) -> usize {
    let bytes = packet.bytes();
    let offload = packet.meta.offload;
    let inner = bytes.get(prefix_len..);
    let inner = inner.filter(|_| offload != Offload::NONE);
    let segments = inner.and_then(|inner| Segments::of(inner, offload).map(|it| (inner, it)));
    let Some((inner, segments)) = segments else {
        each(bytes);
        return 1;
    };
    if prefix_len + segments.header_len() + segments.size() > scratch.len() {
        each(bytes);
        return 1;
    }
    let cut = segments.cut(inner);
    scratch[..prefix_len].copy_from_slice(&bytes[..prefix_len]);
    for index in 0..cut.count() {
        let len = prefix_len + cut.write(index, &mut scratch[prefix_len..]);
        each(&scratch[..len]);
    }
    cut.count()
}
