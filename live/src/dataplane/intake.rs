//! Reading the sources of a ground: packets in slots of its pool, each with where it came from, for the next batch.
//!
//! One read is one packet of the TUN, or what the mouth has: several messages, each a datagram or a train, out of which
//! [`Gather`](super::gather::Gather) makes super-packets. Every read says whether there may be more.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::packet::{HEADROOM, Meta, SMALL_SLOT};
use anyhow::{Context, Result};

use super::clock::Clock;
use super::mouth::{Message, Side};
use super::peers::{Arrival, Peers};
use super::{Dataplane, Ground};

impl<F: Forwarder, C: Clock> Dataplane<F, C> {
    /// Reads one packet: how many it was, and whether there may be more.
    pub(super) fn read_tun(&mut self, ground: &mut Ground) -> Result<(usize, bool)> {
        let Some(tun) = &mut ground.tun else {
            return Ok((0, false));
        };
        let meta = Meta::plain(ground.tun_port);
        // Without a free slot what arrives waits in the kernel until a deadline frees some.
        let packet = tun
            .recv(&mut self.into.pool, meta)
            .with_context(|| format!("cannot read from {}", tun.interface()))?;
        let count = usize::from(packet.is_some());
        self.batch.extend(packet);
        Ok((count, count > 0))
    }

    /// Reads what waits on one side of the mouth: how many datagrams it was, and whether there may be more.
    pub(super) fn read_mouth(
        &mut self,
        side: Side,
        ground: &mut Ground,
        peers: &Peers,
    ) -> Result<(usize, bool)> {
        let read = ground.mouth.recv(side, &mut self.trains);
        let (messages, more) = read.context("cannot read from the tunnel mouth")?;
        let (mut taken, mut bytes) = (0, 0);
        let mut known = None;
        for index in 0..messages {
            let Some(message) = self.trains.message(index) else {
                continue;
            };
            // What comes together comes from few.
            let arrival = match known {
                Some((from, arrival)) if from == message.from => arrival,
                _ => peers.arrival(message.from),
            };
            known = Some((message.from, arrival));
            bytes += message.len;
            taken += self.take_message((index, message), arrival, ground, peers)?;
        }
        ground.mouth.received(side, taken, bytes);
        Ok((taken, more))
    }

    /// Takes in the datagrams of one message: how many it was.
    fn take_message(
        &mut self,
        (index, message): (usize, Message),
        arrival: Arrival,
        ground: &mut Ground,
        peers: &Peers,
    ) -> Result<usize> {
        let meta = Meta {
            peer: arrival.peer,
            tos: message.tos,
            ..Meta::plain(arrival.port)
        };
        let train = message.len > message.datagram_len;
        let mut at = 0;
        for taken in 1.. {
            let end = message.len.min(at + message.datagram_len);
            // A datagram that was cut has lost its end: as an empty one the forwarder counts it as malformed.
            let whole = if message.cut { at..at } else { at..end };
            let datagram = &self.trains.bytes(index)[whole];
            let (pool, batch) = (&mut self.into.pool, &mut self.batch);
            if !self.gather.push(datagram, (meta, train), pool, batch) {
                self.shared.totals.count_drop(DropReason::PoolEmpty);
            }
            if self.is_batch_full() {
                self.hand_over(ground, peers)?;
            }
            if end == message.len {
                return Ok(taken);
            }
            at = end;
        }
        Ok(0)
    }

    /// Reads one packet of plain GRE.
    pub(super) fn read_raw(
        &mut self,
        side: Side,
        ground: &mut Ground,
        peers: &Peers,
    ) -> Result<(usize, bool)> {
        let Some(raw) = &mut ground.raw_gre else {
            return Ok((0, false));
        };
        let room = ground.packet_bytes_max.max(SMALL_SLOT - HEADROOM);
        let pool = &mut self.into.pool;
        // Without a free slot what arrives waits in the kernel until a deadline frees some.
        let Some(mut packet) = pool.lend(room, Meta::plain(ground.tun_port)) else {
            return Ok((0, false));
        };
        let arrived = match raw.recv(side, packet.bytes_mut()) {
            Ok(Some(arrived)) => arrived,
            Ok(None) => {
                pool.take_back(packet);
                return Ok((0, false));
            }
            Err(error) => {
                pool.take_back(packet);
                return Err(error).context("cannot read GRE from a raw socket");
            }
        };
        let arrival = peers.raw_arrival(arrived.from);
        packet.meta = Meta {
            peer: arrival.peer,
            tos: arrived.tos,
            ..Meta::plain(arrival.port)
        };
        // A packet that was cut has lost its end: as an empty one the forwarder counts it as malformed.
        packet.truncate(if arrived.cut { 0 } else { arrived.len });
        self.batch.push(packet);
        Ok((1, true))
    }

    /// Reads one packet that came out of a stream.
    pub(super) fn read_streams(&mut self, ground: &mut Ground) -> (usize, bool) {
        let Some(streams) = &mut ground.streams else {
            return (0, false);
        };
        // Ordinary packets go into ordinary slots, whatever is left of one behind them.
        let room = ground.packet_bytes_max.max(SMALL_SLOT - HEADROOM);
        let pool = &mut self.into.pool;
        let Some(mut packet) = pool.lend(room, Meta::plain(ground.tun_port)) else {
            return (0, false);
        };
        let Some((len, meta)) = streams.take(packet.bytes_mut()) else {
            pool.take_back(packet);
            return (0, false);
        };
        packet.meta = meta;
        packet.truncate(len);
        self.batch.push(packet);
        (1, true)
    }
}
