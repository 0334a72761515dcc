//! Echoes datagrams: what answers a [`tick`](crate::tick).
//!
//! The answer leaves from the address that was asked, with the backend's mark where a tick asks for it. The DSCP comes back as it came; ECN does not, since a
//! mark tells of the way here and not of the way back.

use std::sync::Arc;

use anyedge_net::host::{DatagramMeta, Host, UdpSocket};

use super::Backend;
use super::observer::{Seen, Told, What};
use crate::tick;

/// Longer than any datagram.
const BUFFER_BYTES: usize = 64 * 1024;

const DSCP_MASK: u8 = 0xFC;

pub(super) async fn run<H: Host>(backend: Arc<Backend<H>>, socket: H::Udp) {
    let bound = socket.local_addr();
    let mark = tick::mark(backend.host.name(), bound);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok((length, meta)) = socket.recv(&mut buffer).await else {
            // Mostly a port unreachable for an earlier echo. The rest keeps any other from spinning.
            backend.stats.lock().on_echo_error();
            backend
                .host
                .sleep_until(backend.host.now() + super::ACCEPT_REST)
                .await;
            continue;
        };
        let mut server = bound;
        if let Some(local) = meta.local {
            server.set_ip(local);
        }
        backend.observer.on_request(&Seen {
            at: backend.host.now(),
            client: meta.peer,
            told: Told::default(),
            server,
            what: What::Tick { bytes: length },
        });
        let back = DatagramMeta {
            local: meta.local,
            tos: meta.tos & DSCP_MASK,
            ..DatagramMeta::to(meta.peer)
        };
        tick::answer(&mut buffer[..length.min(BUFFER_BYTES)], mark);
        let sent = socket.send(&buffer[..length.min(BUFFER_BYTES)], back);
        let mut stats = backend.stats.lock();
        match sent {
            Ok(()) => stats.on_tick(),
            Err(_) => stats.on_echo_error(),
        }
    }
}
