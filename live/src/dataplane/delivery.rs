//! Putting on a ground's devices what came of a worker's calls, slots back into its pool.
//!
//! Tunnels first: what leaves by the mouth goes in trains, which may stay open until the end of a turn, by a raw socket or a stream packet by packet. Then the TUN
//! takes what is for the node's own side, super-packets whole. What a device does not take is counted with its cause.

use std::io;
use std::net::SocketAddr;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortKind;
use anyedge_net::wire::gre;
use anyhow::{Context, Result};

use super::clock::Clock;
use super::peers::Peers;
use super::shared::Yield;
use super::totals::Totals;
use super::{Dataplane, Ground, pieces};

impl<F: Forwarder, C: Clock> Dataplane<F, C> {
    /// Puts on devices what came of the last calls, to the last datagram, and takes the slots back.
    pub(super) fn deliver_all(&mut self, ground: &mut Ground, peers: &Peers) -> Result<()> {
        self.deliver(ground, peers)?;
        if self.trains.are_open() {
            let totals = &self.shared.totals;
            let refused = |reason, count| totals.count_drops(reason, count);
            let now = self.clock.now();
            ground.mouth.flush(&mut self.trains, now, refused);
        }
        Ok(())
    }

    /// The same, but for datagrams that still wait for company in a train.
    pub(super) fn deliver(&mut self, ground: &mut Ground, peers: &Peers) -> Result<()> {
        self.send_by_tunnels(ground, peers);
        let totals = &self.shared.totals;
        let Yield { sent, local, pool } = &mut self.into;
        for mut packet in sent.drain(..) {
            if packet.meta.port == ground.tun_port {
                write(ground, &mut packet, totals)?;
            }
            pool.take_back(packet);
        }
        for mut packet in local.drain(..) {
            write(ground, &mut packet, totals)?;
            pool.take_back(packet);
        }
        if let Some(streams) = &ground.streams {
            streams.publish(totals);
        }
        Ok(())
    }

    /// Sends what leaves by tunnels: by a stream, where its path is one, else by the mouth.
    fn send_by_tunnels(&mut self, ground: &mut Ground, peers: &Peers) {
        let Ground {
            tun_port,
            mouth,
            raw_gre,
            streams,
            ..
        } = ground;
        let totals = &self.shared.totals;
        let (scratch, trains) = (&mut self.scratch, &mut self.trains);
        for packet in &self.into.sent {
            let Meta {
                port, peer, tos, ..
            } = packet.meta;
            if port == *tun_port {
                continue;
            }
            let refused = |reason, count| totals.count_drops(reason, count);
            let to = destination(peers, packet);
            if to.is_some_and(|to| mouth.put(packet, to, trains, refused)) {
                continue;
            }
            if let Some(raw) = raw_gre
                && let Some(to) = peers.raw_destination(port, peer)
            {
                pieces::each(packet, gre::HEADER_LEN, scratch, |piece| {
                    if let Err(reason) = raw.send(piece, to, tos) {
                        totals.count_drop(reason);
                    }
                });
                continue;
            }
            let mut sent = false;
            if let Some(streams) = streams {
                pieces::each(packet, gre::HEADER_LEN, scratch, |piece| {
                    sent |= streams.send(port, peer, piece, tos);
                });
            }
            if !sent {
                totals.count_drop(DropReason::NoRoute);
            }
        }
    }
}

/// Where a packet goes that leaves by the mouth.
fn destination(peers: &Peers, packet: &Packet) -> Option<SocketAddr> {
    let Meta { port, peer, .. } = packet.meta;
    let is_tunnel = port.kind() == Some(PortKind::Tunnel);
    peers.destination(port, peer).filter(|_| is_tunnel)
}

/// Hands one packet to the kernel by the TUN device.
fn write(ground: &mut Ground, packet: &mut Packet, totals: &Totals) -> Result<()> {
    let Some(tun) = &mut ground.tun else {
        totals.count_drop(DropReason::NoRoute);
        return Ok(());
    };
    match tun.send(packet) {
        Ok(true) => {}
        Ok(false) => totals.count_drop(DropReason::QueueFull),
        // The packet is at fault (no IP version that the kernel knows), not the device.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            totals.count_drop(DropReason::SendFailed);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write to {}", tun.interface()));
        }
    }
    Ok(())
}
