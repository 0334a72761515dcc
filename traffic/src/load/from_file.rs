//! A file's load as the one that clients send, the same in both worlds.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use anyedge_net::time::Instant;
use anyedge_topologies::{Arrivals as FileArrivals, LoadKind as FileKind, Topology};

use super::{Arrivals, Load, LoadKind, Rate};

impl Load {
    /// What a host over IPv6, or IPv4, sends of `load` within `duration`; `None` when the VIP has no address of that
    /// family. Time counts from the beginning of the run.
    pub fn from_file(
        topology: &Topology,
        load: &anyedge_topologies::Load,
        v6: bool,
        duration: Duration,
    ) -> Option<Load> {
        let vip = topology.vips.get(&load.vip)?;
        let address: IpAddr = if v6 {
            vip.address.v6.map(Into::into)
        } else {
            vip.address.v4.map(Into::into)
        }?;
        let (stream, port) = match load.kind {
            FileKind::Ping { .. } => (format!("{}:ping", load.vip), 0),
            _ => {
                let listeners = &topology.clbs.get(&vip.clb)?.listeners;
                let stream = format!("{}:{}", load.vip, load.listener);
                (stream, listeners.get(&load.listener)?.port)
            }
        };
        let (kind, size, request_size) = unit(load.kind);
        Some(Load {
            stream,
            kind,
            rate: Rate {
                count: load.rate.count,
                per: load.rate.per,
            },
            arrivals: match load.arrivals {
                FileArrivals::Poisson => Arrivals::Poisson,
                FileArrivals::Fixed => Arrivals::Fixed,
            },
            size,
            sizes: load.sizes.clone(),
            bursts: load.bursts.clone(),
            request_size,
            to: SocketAddr::new(address, port),
            timeout: load.timeout,
            start: Instant::ZERO + load.start,
            stop: Instant::ZERO + load.stop.unwrap_or(duration).min(duration),
            in_flight_max: load.in_flight_max,
        })
    }
}

/// One unit of a load: what it is, its bytes, and bytes of the request.
fn unit(kind: FileKind) -> (LoadKind, u64, u32) {
    match kind {
        FileKind::Request {
            request_bytes,
            answer_bytes,
        } => (LoadKind::Request, answer_bytes, request_bytes as u32),
        FileKind::KeepAlive {
            request_bytes,
            answer_bytes,
        } => (LoadKind::KeepAlive, answer_bytes, request_bytes as u32),
        FileKind::Tick { payload_bytes } => (LoadKind::Tick, u64::from(payload_bytes), 0),
        FileKind::Ping { payload_bytes } => (LoadKind::Ping, u64::from(payload_bytes), 0),
        FileKind::SynFlood => (LoadKind::SynFlood, 0, 0),
        FileKind::Download { bytes, pace } => (LoadKind::Download { pace }, bytes, 0),
        FileKind::Upload { bytes, pace } => (LoadKind::Upload { pace }, bytes, 0),
        FileKind::HalfClosed { bytes, pace } => (LoadKind::HalfClosed { pace }, bytes, 0),
        FileKind::Idle { bytes, idle } => (LoadKind::Idle { silence: idle }, bytes, 0),
    }
}
