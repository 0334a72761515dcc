//! Telling targets who their clients are: TOA options and PROXY headers, as a flow's listener asks.
//!
//! Both go with the segments that begin the client's stream: the SYN (TOA alone), and whatever begins at the first
//! byte behind it, which is the ACK that completes the handshake, the first data, and either sent again. So nothing
//! has to be remembered, and what is lost is told again. A header makes a segment without data its own; in front of
//! data it is a segment of this node's, with the options of the client's. It needs no room in the client's MSS.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::event::Event;
use anyedge_net::flow::FlowKey;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::ip::{self, Header as IpHeader};
use anyedge_net::wire::proxy::{self, ProxyProtocol};
use anyedge_net::wire::toa::{self, Toa};
use anyedge_net::wire::{self, Parsed, tcp};

use super::ClbNode;
use super::staging::{Found, Staged};
use crate::telling::{Header, Telling};

/// What segments this node puts in front of the client's go by.
pub(super) type Lane = (GreKey, Exit, u16);

/// Bytes of the longest segment with a header: IPv6, all options, and the header.
const SEGMENT_MAX: usize = 40 + 60 + proxy::LEN_MAX;

impl ClbNode {
    /// Whether a client's segment is not to go on as it is: its numbers shift, or it is one of the first.
    #[inline]
    pub(super) fn has_to_tell(&self, staged: &Staged<'_>, id: u32) -> bool {
        let flow = self.connections.flow(id);
        let Telling { toa, proxy, .. } = flow.telling;
        let is_among_first = || {
            let second = flow.life().isn().wrapping_add(1);
            staged.parsed.tcp_flags & tcp::SYN != 0
                || tcp::sequence(staged.packet.bytes(), staged.parsed) == second
        };
        proxy.is_some() || toa.is_some() && is_among_first()
    }

    /// Puts into a client's segment, translated already, what its target is to be told, and shifts its numbers.
    #[cold]
    pub(super) fn tell_source(
        &mut self,
        staged: &mut Staged<'_>,
        id: u32,
        lane: Lane,
        out: &mut Outbox,
    ) {
        let Staged { packet, parsed, .. } = staged;
        if parsed.is_later_fragment() {
            return;
        }
        let flow = self.connections.flow(id);
        let (key, telling, isn) = (flow.key, flow.telling, flow.life().isn());
        let is_syn = parsed.tcp_flags & tcp::SYN != 0;
        let is_rst = parsed.tcp_flags & tcp::RST != 0;
        let sequence = tcp::sequence(packet.bytes(), parsed);
        let begins = !is_syn && !is_rst && sequence == isn.wrapping_add(1);
        if let Some(version) = telling.proxy
            && switch::is_on("P-SA03")
        {
            if is_syn {
                // Data of a SYN would come before the header; the client sends it again.
                tcp::take_payload(packet, parsed);
            } else if begins && telling.header() < Header::Arrived {
                self.connections.telling_mut(id).header_is(Header::Sent);
                give_header((packet, parsed), (&key, version, telling), lane, out);
            } else {
                tcp::set_sequence(packet.bytes_mut(), parsed, telling.expected(sequence, isn));
            }
        }
        if let Some(kind) = telling.toa.filter(|_| is_syn || begins)
            && switch::is_on("P-SA01")
            && !insert_toa((packet, parsed), (&key, kind), lane.1)
        {
            out.event(Event::SourceUntold { flow: key });
        }
    }

    /// Takes a header out of the numbers that a target acknowledges to its client.
    #[inline]
    pub(super) fn untell(&mut self, now: Instant, staged: &mut Staged<'_>) {
        let Some(Found { id, .. }) = staged.found else {
            return;
        };
        if self.connections.flow(id).telling.proxy.is_some() && self.connections.is_alive(id, now) {
            self.take_header(staged, id);
        }
    }

    #[cold]
    fn take_header(&mut self, staged: &mut Staged<'_>, id: u32) {
        let Staged { packet, parsed, .. } = staged;
        if parsed.tcp_flags & tcp::ACK == 0 || parsed.is_later_fragment() {
            return;
        }
        let flow = self.connections.flow(id);
        let (telling, isn) = (flow.telling, flow.life().isn());
        let acknowledged = tcp::acknowledged(packet.bytes(), parsed);
        if telling.covers_header(acknowledged, isn) {
            self.connections.telling_mut(id).header_is(Header::Arrived);
        }
        let number = |number| telling.to_client(number, isn);
        tcp::map_acknowledged(packet.bytes_mut(), parsed, number);
    }
}

/// Sends a header before the data of a segment which begins the stream, or in it when it has none.
fn give_header(
    (packet, parsed): (&mut Packet, &mut Parsed),
    (key, version, telling): (&FlowKey, ProxyProtocol, Telling),
    (gre_key, exit, entropy): Lane,
    out: &mut Outbox,
) {
    let mut header = [0; proxy::LEN_MAX];
    let len = proxy::write(version, key, &mut header);
    let header = &header[..len];
    let ends = parsed.tcp_flags & tcp::FIN != 0;
    let fits = packet.wire_len() + len <= usize::from(exit.inner_mtu);
    if !ends && fits && tcp::give_payload(packet, parsed, header) {
        return;
    }
    send_before((packet, parsed), header, (gre_key, exit, entropy), out);
    let sequence = telling.to_target(tcp::sequence(packet.bytes(), parsed));
    tcp::set_sequence(packet.bytes_mut(), parsed, sequence);
}

/// Sends `data` as a segment that takes the place of another one's first bytes, with its options.
fn send_before(
    (packet, parsed): (&Packet, &Parsed),
    data: &[u8],
    (gre_key, exit, entropy): Lane,
    out: &mut Outbox,
) {
    let l4 = parsed.l4(packet.bytes());
    let tcp_len = l4.len() - tcp::payload_len(packet.bytes(), parsed);
    let Ok(now_to) = wire::parse(packet.bytes()) else {
        return;
    };
    let (src, dst) = (now_to.flow.src, now_to.flow.dst);
    let header = IpHeader {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: ip::DEFAULT_TTL,
        tos: parsed.tos,
        payload_len: tcp_len + data.len(),
    };
    let mut bytes = [0; SEGMENT_MAX];
    let at = header.write(&mut bytes);
    let len = at + tcp_len + data.len();
    let segment = &mut bytes[at..len];
    segment[..tcp_len].copy_from_slice(&l4[..tcp_len]);
    segment[tcp_len..].copy_from_slice(data);
    tcp::set_flags(segment, tcp::ACK | tcp::PSH);
    tcp::fill_checksum(segment, src, dst);
    let bytes = &bytes[..len];
    let (Ok(parsed), Some(mut before)) = (wire::parse(bytes), out.originate(len)) else {
        return; // the client sends its data again, and the header comes with it
    };
    before.bytes_mut().copy_from_slice(bytes);
    tunnel::send(before, &parsed, gre_key, (exit, entropy), out);
}

/// False when the option has no room: among others, in front of the packet, or in the tunnel.
fn insert_toa(
    (packet, parsed): (&mut Packet, &mut Parsed),
    (key, kind): (&FlowKey, Toa),
    exit: Exit,
) -> bool {
    let len = toa::option_len(key.src.family());
    packet.wire_len() + len <= usize::from(exit.inner_mtu)
        && toa::insert(packet, parsed, kind, (key.src, key.src_port))
}
